"""The models behind the front: which workers answer for the champion and the challenger, and the switch from one to another.

Knows nothing of how workers are started. The supervisor says what is live (`Route`), and this switches when the new workers
answer, between two requests: a request holds on to the model that it began with.
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.model.backend import Challenger, Mode, Model, NotReady
from serving.model.link import Link

log = logging.getLogger(__name__)

SECONDS_TO_ANSWER = 30.0
SECONDS_FOR_CHALLENGER = 1.0  # that a switch waits for it; it joins later, if it comes
SECONDS_TO_FINISH = 60.0  # longer than any request's deadline


@dataclass(frozen=True, slots=True)
class Stop:
    """Where a route leads: a version, its Bento's files, and the sockets of its workers."""

    version: str
    root: Path
    sockets: tuple[Path, ...]

    @classmethod
    def read(cls, content: dict[str, Any]) -> "Stop":
        """Read what `told` wrote."""
        return cls(content["version"], Path(content["root"]), tuple(map(Path, content["sockets"])))

    def told(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return {"version": self.version, "root": str(self.root), "sockets": [str(path) for path in self.sockets]}


@dataclass(frozen=True, slots=True)
class Route:
    """What is live: `generation` is the pointer's."""

    generation: int
    champion: Stop
    challenger: Stop | None = None
    mode: Mode = "shadow"
    share: float = 0.0

    @classmethod
    def read(cls, content: dict[str, Any]) -> "Route":
        """Read what `told` wrote."""
        challenger = Stop.read(content["challenger"]) if content["challenger"] else None
        return cls(content["generation"], Stop.read(content["champion"]), challenger, content["mode"], content["share"])

    def told(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        challenger = self.challenger.told() if self.challenger else None
        return {
            "generation": self.generation,
            "champion": self.champion.told(),
            "challenger": challenger,
            "mode": self.mode,
            "share": self.share,
        }


class Fleet:
    """Implements `backend.Models` over links to workers."""

    def __init__(self) -> None:
        self.generation = 0
        self._links: dict[Stop, Link] = {}
        self._champion: Link | None = None
        self._challenger: Challenger | None = None
        self._joining: asyncio.Task[bool] | None = None  # waits for a challenger that did not answer at the switch
        self._switching = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()

    @property
    def champion(self) -> Model:
        """The live model."""
        if self._champion is None:
            raise NotReady("no model is live yet")
        return self._champion

    @property
    def challenger(self) -> Challenger | None:
        """The model on trial, if any."""
        return self._challenger

    async def switch(self, route: Route) -> None:
        """Answer by this route from now on. Returns when its champion has answered; the old links finish their work.

        A challenger that does not answer is waited for beside it: a trial must not keep the champion from answering.
        Raises NotReady when the champion does not answer; then nothing has changed. An older route than the present one is
        passed over.
        """
        async with self._switching:
            if route.generation < self.generation:
                return
            wanted = [stop for stop in (route.champion, route.challenger) if stop is not None]
            links = {stop: self._links.get(stop) or Link(stop.sockets, stop.root).start() for stop in wanted}
            try:
                async with asyncio.timeout(SECONDS_TO_ANSWER):
                    await _met(route.champion, links[route.champion])
            except (NotReady, TimeoutError) as fault:
                await asyncio.gather(*(link.close() for stop, link in links.items() if stop not in self._links))
                raise NotReady(str(fault) or f"no worker has answered within {SECONDS_TO_ANSWER:.0f} s") from None
            challenger, joining = None, None
            if route.challenger:
                link = links[route.challenger]
                challenger = Challenger(link, route.mode, route.share)
                joining = asyncio.create_task(self._join(route.challenger, challenger, link))
                await asyncio.wait({joining}, timeout=SECONDS_FOR_CHALLENGER)
            # No await between these: whoever reads them sees the old route or the new one.
            old, self._links = self._links, links
            self._champion = links[route.champion]
            self._challenger = challenger if joining and joining.done() and joining.result() else None
            late, self._joining = self._joining, joining
            self.generation = route.generation
            if late is not None:
                late.cancel()
            for stop, link in old.items():
                if stop not in links:
                    leaving = asyncio.create_task(_finished(link))
                    self._leaving.add(leaving)
                    leaving.add_done_callback(self._leaving.discard)

    async def _join(self, stop: Stop, challenger: Challenger, link: Link) -> bool:
        """Wait for a challenger's workers; let it in if the switch that wanted it has gone ahead without it."""
        try:
            await _met(stop, link)
        except NotReady as fault:
            log.error("the challenger is left out: %s", fault)
            return False
        if self._joining is asyncio.current_task():
            self._challenger = challenger
        return True

    async def close(self) -> None:
        """Let every link finish its work."""
        if self._joining is not None:
            self._joining.cancel()
        links, self._links = list(self._links.values()), {}
        self._champion = self._challenger = None
        await asyncio.gather(*(_finished(link) for link in links), *self._leaving)


async def _met(stop: Stop, link: Link) -> None:
    """Wait until a worker answers, and hold it to the version that the route names."""
    about = await link.ready()
    if about.version != stop.version:
        raise NotReady(f"the workers of {stop.version} say that they are {about.version}")


async def _finished(link: Link) -> None:
    """Close a link once every request that it took has its answer."""
    with suppress(TimeoutError):
        async with asyncio.timeout(SECONDS_TO_FINISH):
            while link.waiting:
                await asyncio.sleep(0.02)
    await link.close()
