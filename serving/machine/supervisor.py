"""The parent of the service on one machine: owns the port, the pointer to the live version, and every process.

    supervisor ── front       the API; answers on the port that the supervisor opened, so connections wait while it restarts
               └─ workers     one group per version, on Unix sockets; started from the version's own code

A version goes live in this order: admitted and verified, started, warmed, golden requests answered, pointer on disk, front
switched, the one before kept warm. Whatever dies in between, pointer and front agree again after the restart, because the
pointer is written first and the front takes its route from the pointer alone. Knows nothing of HTTP or of models.
"""

import asyncio
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from evergreen.errors import ReleaseError
from evergreen.release.live import Live, Place, Release, Trial, first
from evergreen.sections.loop import Serve
from serving.machine.children import ChildError, Say
from serving.machine.fleet import Route
from serving.machine.front_line import FrontLine
from serving.machine.group import SECONDS_TO_START, Group
from serving.settings import SETTINGS, Settings, Size


class Supervisor:
    """The service of one place: what is live in it, and the processes that make it so."""

    def __init__(self, place: Place, serve: Serve, say: Say) -> None:
        self.place, self.serve, self.say = place, serve, say
        self.size = Size.of(serve)
        self.listening = _listen(serve.host, serve.port)
        self.live: Live | None = None
        self._groups: dict[str, Group] = {}
        self._changing = asyncio.Lock()
        self.front = FrontLine(self.listening, place.home, serve, say)

    @property
    def address(self) -> str:
        """The URL at which it answers."""
        host, port = self.listening.getsockname()[:2]
        return f"{'https' if self.serve.tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"

    async def start(self, bento: Path | None) -> None:
        """Bring up what the pointer names, or a Bento given; raises ReleaseError, with nothing left running, when that fails."""
        before = self.place.read()
        if bento is not None:
            release = self.place.admit(bento)
            live = first(release) if before is None else before if before.champion == release else before.promoted(release)
        elif before is not None:
            live = before
        else:
            raise ReleaseError("nothing has been live here yet; name what to serve: evergreen serve build/bento")
        front = asyncio.create_task(self.front.child.start(SECONDS_TO_START))
        try:
            await self._group(live.champion)
            await front
        except BaseException as fault:
            front.cancel()
            await asyncio.gather(front, return_exceptions=True)
            await self.end()
            if isinstance(fault, ChildError):
                raise ReleaseError(str(fault)) from None
            raise
        if live != before:
            self.place.write(live)
        self.live = live
        try:
            await self.front.switch(self._route(live, [live.champion]))
        except ReleaseError:
            if before is not None:  # or every later start would try what could not be switched to
                self.place.write(before)
            await self.end()
            raise

    async def warm_others(self) -> None:
        """Bring up the other versions that the pointer names; one that cannot start is said, and does no harm to the champion."""
        live = self.live
        for release in live.releases[1:] if live else ():
            async with self._changing:
                if self.live is not live or live is None:
                    return
                try:
                    await self._group(release)
                    if live.trial and live.trial.release == release:
                        await self.front.switch(self._route(live, self._groups_of(live)))
                except ReleaseError as fault:
                    self.say(f"{release.version}, kept beside the live version, could not be started: {fault}")

    async def swap(self, bento: Path, say: Say) -> Live:
        """Make a Bento's version live."""
        async with self._changing:
            release = await self._admitted(bento, say)
            live = self._known()
            if release == live.champion:
                say(f"{release.version} is live already; nothing was changed")
                return live
            await self._group(release, say)
            return await self._go(live.promoted(release))

    async def roll_back(self, say: Say) -> Live:
        """Make the version before this one live again."""
        async with self._changing:
            live = self._known().rolled_back()
            await self._group(live.champion, say)
            return await self._go(live)

    async def trial(self, bento: Path | None, mode: str, share: float, say: Say) -> Live:
        """Put a Bento's version beside the champion, or end the trial (None)."""
        async with self._changing:
            live = self._known()
            if bento is None:
                return await self._go(live.trying(None))
            release = await self._admitted(bento, say)
            live = live.trying(Trial(release, "canary" if mode == "canary" else "shadow", share))
            await self._group(release, say)
            return await self._go(live)

    def described(self) -> dict[str, Any]:
        """Return what `evergreen live` shows: the pointer, the processes, the address."""
        processes = [
            ("front", self.front.child),
            *((group.release.version, child) for group in self._groups.values() for child in group.children),
        ]
        live = self._known()
        return {
            "address": self.address,
            "generation": live.generation,
            "since": live.since,
            "champion": live.champion.version,
            "previous": live.previous.version if live.previous else None,
            "trial": {"version": live.trial.release.version, "mode": live.trial.mode, "share": live.trial.share} if live.trial else None,
            "threads": self.size.threads,
            "processes": [
                {"of": name, "name": child.name, "pid": child.pid, "ready": child.ready.is_set(), "restarts": child.restarts}
                for name, child in processes
            ],
        }

    async def end(self) -> None:
        """Answer what was asked, then end every process."""
        await self.front.child.stop()
        await asyncio.gather(*(group.end() for group in self._groups.values()))
        self.listening.close()

    def _known(self) -> Live:
        if self.live is None:
            raise ReleaseError("the service is still starting; try again in a moment")
        return self.live

    def _readable(self, release: Release) -> None:
        """Refuse a version whose settings this service cannot read: the front would die of them again and again."""
        try:
            Settings.load(self.place.bento(release) / "src" / SETTINGS)
        except (OSError, ValidationError) as fault:
            places = sorted({".".join(map(str, error["loc"])) for error in fault.errors()}) if isinstance(fault, ValidationError) else []
            where = f" ({', '.join(places)})" if places else ""
            raise ReleaseError(
                f"{release.version} was built for another version of this service: its {SETTINGS} does not fit{where}; "
                "build it again (`dvc repro package`)"
            ) from None

    async def _admitted(self, bento: Path, say: Say) -> Release:
        release = await asyncio.to_thread(self.place.admit, bento)
        say(f"{release.version} verified")
        return release

    async def _group(self, release: Release, say: Say | None = None) -> Group:
        """Return the running workers of a release; start them when there are none."""
        group = self._groups.get(release.name)
        if group is not None:
            return group
        await asyncio.to_thread(self.place.check, release)
        self._readable(release)
        self.place.run.mkdir(mode=0o700, parents=True, exist_ok=True)
        bytecode = self.place.folder.resolve() / "bytecode"
        group = Group(release, self.place.bento(release), sockets=self.place.run, bytecode=bytecode, size=self.size, say=self.say)
        await group.start()
        self._groups[release.name] = group
        if say:
            say(f"{release.version} started, warmed, golden requests answered as recorded")
        return group

    async def _go(self, live: Live) -> Live:
        """Make a pointer true: on disk first, then in the front; then end what it no longer names."""
        before = self._known()
        try:
            self.place.write(live)
        except OSError as fault:  # the disk is full, say
            await self._end_unnamed(before)
            raise ReleaseError(f"{self.place.folder}/live.json cannot be written: {fault.strerror}; nothing was changed") from None
        self.live = live
        try:
            await self.front.switch(self._route(live, self._groups_of(live)))
        except ReleaseError:
            # The pointer must not name what the front would not take: put the old one back, under a number of its own.
            self.live = Live(live.generation + 1, before.champion, before.previous, before.trial, before.since)
            self.place.write(self.live)
            await self.front.switch(self._route(self.live, self._groups_of(self.live)))
            await self._end_unnamed(self.live)
            raise
        self._tell_of(before, live)
        await self._end_unnamed(live)
        await asyncio.to_thread(self.place.sweep, live)
        return live

    async def _end_unnamed(self, live: Live) -> None:
        """End the workers of versions that a pointer does not name."""
        named = {release.name for release in live.releases}
        for name in [name for name in self._groups if name not in named]:
            await self._groups.pop(name).end()

    def _tell_of(self, before: Live, live: Live) -> None:
        if before.champion != live.champion:
            self.say(f"{live.champion.version} is live; {before.champion.version} stays warm for `evergreen rollback`")
        if live.trial and live.trial != before.trial:
            share = f" for {live.trial.share:.0%} of the keys" if live.trial.mode == "canary" else ""
            self.say(f"{live.trial.release.version} is on trial beside it: {live.trial.mode}{share}")
        elif before.trial and not live.trial:
            self.say("no version is on trial any more")

    def _groups_of(self, live: Live) -> list[Release]:
        return [release for release in live.releases if release.name in self._groups]

    def _route(self, live: Live, running: Iterable[Release]) -> Route:
        stops = {release.name: self._groups[release.name].stop for release in running}
        champion = stops[live.champion.name]
        if live.trial is None or live.trial.release.name not in stops:
            return Route(live.generation, champion)
        return Route(live.generation, champion, stops[live.trial.release.name], live.trial.mode, live.trial.share)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as fault:
        listening.close()
        raise ReleaseError(
            f"cannot listen on {host}:{port}: {fault.strerror}; choose another in params.yaml, serve.port, or --port"
        ) from None
    listening.listen(2048)
    listening.setblocking(False)
    return listening
