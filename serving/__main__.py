"""`python -m serving`: the supervisor in the foreground, until Ctrl-C or SIGTERM. What `evergreen serve` becomes."""

import argparse
import asyncio
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.text import Text

from evergreen.access import FILE, read
from evergreen.config import load_params
from evergreen.errors import AccessError, EvergreenError, ReleaseError
from evergreen.home import home, traffic_url
from evergreen.release.live import Place
from evergreen.release.manifest import verify
from evergreen.sections.loop import Serve
from serving.machine.control import listen
from serving.machine.supervisor import Supervisor
from serving.settings import SETTINGS, Settings


def main(arguments: list[str] | None = None) -> None:
    """Serve; an EvergreenError is printed as its message alone, with exit status 1."""
    given = _parse(arguments)
    console = Console(highlight=False, soft_wrap=True)
    place = Place(home())
    try:
        with _alone(place):
            asyncio.run(_serve(given, place, console))
    except EvergreenError as fault:
        Console(stderr=True, soft_wrap=True).print(Text(str(fault), style="red"))
        sys.exit(1)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m serving", description="Answers requests with the live version.")
    parser.add_argument("bento", nargs="?", help="folder of a Bento, or the beginning of a kept version; without it, what was live last")
    parser.add_argument(
        "--params", type=Path, default=Path("params.yaml"), help="file with the section `serve`; without it, the Bento's own"
    )
    parser.add_argument("--host", help="address to listen on, instead of the file's")
    parser.add_argument("--port", type=int, help="port to listen on, instead of the file's; 0: any free one")
    return parser.parse_args(arguments)


async def _serve(given: argparse.Namespace, place: Place, console: Console) -> None:
    def say(line: str) -> None:
        console.print(Text.assemble((time.strftime("%H:%M:%S  "), "dim"), line))

    begun = time.monotonic()
    bento = place.find(given.bento) if given.bento else None
    serve = _settings(given, place, bento)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    supervisor = Supervisor(place, serve, say)
    control = await listen(supervisor)
    try:
        starting = asyncio.create_task(supervisor.start(bento))
        waiting = asyncio.create_task(ended.wait())
        await asyncio.wait([starting, waiting], return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            return
        await starting
        _greet(console, supervisor, time.monotonic() - begun)
        warming = asyncio.create_task(supervisor.warm_others())
        await waiting
        say("ending: requests in work are answered first")
        warming.cancel()
        await asyncio.gather(warming, return_exceptions=True)
    finally:
        control.close()
        place.control.unlink(missing_ok=True)
        await supervisor.end()
    say("ended")


def _settings(given: argparse.Namespace, place: Place, bento: Path | None) -> Serve:
    """Return the section `serve` of params.yaml; where there is no such file, the one that the Bento brings."""
    if given.params.exists():
        serve = load_params(given.params).serve
    else:
        live = place.read()
        folder = bento or (place.bento(live.champion) if live else None)
        if folder is None:
            raise ReleaseError("nothing has been live here yet; name what to serve: evergreen serve build/bento")
        serve = Settings.load(folder / "src" / SETTINGS).serve
    told = {name: value for name in ("host", "port") if (value := getattr(given, name)) is not None}
    return serve.model_copy(update=told)


def _greet(console: Console, supervisor: Supervisor, seconds: float) -> None:
    live = supervisor.live
    assert live is not None
    name = Settings.load(supervisor.place.bento(live.champion) / "src" / SETTINGS).name
    told = supervisor.described()
    workers = sum(process["of"] != "front" for process in told["processes"])
    lines = [
        ("page", f"{supervisor.address}/"),
        ("API", f"{supervisor.address}/docs"),
        ("workers", f"{workers} with {told['threads']} thread{'s' if told['threads'] > 1 else ''}"),
        ("log", traffic_url(supervisor.serve.log.url).split("@")[-1]),
        ("keys", _keys()),
        ("signed", _signed(supervisor)),
        ("Ctrl-C", "ends it; what was asked is answered first"),
    ]
    console.print(Text.assemble(("Serving ", "bold"), (f"{name} {live.champion.version}", "bold green"), f" after {seconds:.1f} s"))
    for what, where in lines:
        console.print(Text.assemble((f"  {what:<9}", "dim"), where))


def _keys() -> str:
    try:
        known = [key for key in read(home() / FILE) if key.revoked is None]
    except AccessError as fault:
        return f"nobody is let in: {fault}"
    if not known:
        return "none: this machine alone is answered; evergreen keys create NAME lets others in"
    return f"{len(known)}: {', '.join(key.name for key in known[:5])}{' ...' if len(known) > 5 else ''}"


def _signed(supervisor: Supervisor) -> str:
    live = supervisor.live
    by = verify(supervisor.place.bento(live.champion), trusted=supervisor.place.trusted).signed_by if live else None
    return f"by {by}" if by else "not asked for: no key is trusted here; evergreen signer trust FILE changes that"


@contextmanager
def _alone(place: Place) -> Iterator[None]:
    """Hold the place's lock: two supervisors would each think that they own the pointer."""
    place.folder.mkdir(parents=True, exist_ok=True)
    with (place.folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise ReleaseError(f"a service runs in {place.home} already (process {lock.read().strip() or 'unknown'})") from None
        lock.truncate(0)
        lock.write(json.dumps(os.getpid()))
        lock.flush()
        yield


if __name__ == "__main__":
    main()
