"""`evergreen serve` and the commands to a service that runs: swap, shadow, canary, live.

The service itself is started as a process (`python -m serving`); it is told what to do over its control socket.
"""

import argparse
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evergreen.errors import ReleaseError
from evergreen.release.control import ask, running
from evergreen.release.live import Place
from flows import HOME

BENTO = "folder of a Bento, such as build/bento, or the beginning of the version of a release kept here"


def add_commands(commands: Any) -> None:
    """Add these commands to the command line."""
    serve = commands.add_parser("serve", help="answer requests with the live version, until Ctrl-C")
    serve.add_argument("bento", nargs="?", metavar="BENTO", help=f"{BENTO}; without it, what was live last")
    serve.add_argument("--host", help="address to listen on, instead of params.yaml's serve.host")
    serve.add_argument("--port", type=int, help="port to listen on, instead of params.yaml's serve.port; 0: any free one")
    serve.set_defaults(run=_serve)
    swap = commands.add_parser("swap", help="make another version live, without a dropped request")
    swap.add_argument("bento", metavar="BENTO", help=BENTO)
    swap.set_defaults(run=_swap)
    for mode, words in (("shadow", "let a challenger answer too, unseen"), ("canary", "let a challenger answer for some API keys")):
        trial = commands.add_parser(mode, help=f"{words}; --stop ends it")
        trial.add_argument("bento", nargs="?", metavar="BENTO", help=BENTO)
        trial.add_argument("--stop", action="store_true", help="end the trial")
        if mode == "canary":
            trial.add_argument("--share", type=_share, default=0.1, help="share of the API keys, 0 to 1 (default 0.1)")
        trial.set_defaults(run=_trial, mode=mode)
    live = commands.add_parser("live", help="show what is live, and its processes")
    live.set_defaults(run=_live)


def _share(word: str) -> float:
    try:
        share = float(word)
    except ValueError:
        raise argparse.ArgumentTypeError(f"a share is a number from 0 to 1, not {word!r}") from None
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"a share lies between 0 and 1, {word} does not")
    return share


def _serve(given: argparse.Namespace) -> None:
    told = [f"--{name}={value}" for name in ("host", "port") if (value := getattr(given, name)) is not None]
    command = [sys.executable, "-m", "serving", *told, *([given.bento] if given.bento else [])]
    sys.stdout.flush()
    os.execve(sys.executable, command, os.environ | {"EVERGREEN_HOME": str(HOME)})


def _swap(given: argparse.Namespace) -> None:
    from flows.releasing.ledger import person
    from flows.releasing.settle import settle

    _change({"command": "swap", "bento": _named(given.bento)})
    settle(Path.cwd(), who=person(Path.cwd()), why=f"evergreen swap {given.bento}")


def _trial(given: argparse.Namespace) -> None:
    if given.stop == bool(given.bento):
        raise ReleaseError(f"name a Bento, or --stop: evergreen {given.mode} BENTO, evergreen {given.mode} --stop")
    share = getattr(given, "share", 0.0)
    bento = None if given.stop else _named(given.bento)
    _change({"command": "trial", "bento": bento, "mode": given.mode, "share": share})


def _named(bento: str) -> str:
    """Return a path as the service can find it, whose working folder may be another."""
    return str(Path(bento).resolve()) if Path(bento).exists() else bento


def _change(command: dict[str, Any]) -> None:
    console = _console()
    live = ask(Place(HOME), command, say=lambda line: console.print(Text(f"  {line}", style="dim")))
    console.print(Text.assemble("Live: ", (live["champion"]["version"], "bold green"), _beside(live)))


def _beside(live: dict[str, Any]) -> str:
    trial, previous = live["trial"], live["previous"]
    words = [f"before it: {previous['version']}"] if previous else []
    if trial:
        share = f" for {trial['share']:.0%} of the keys" if trial["mode"] == "canary" else ""
        words.append(f"on trial: {trial['release']['version']}, {trial['mode']}{share}")
    return "".join(f"  ·  {word}" for word in words)


def _live(given: argparse.Namespace) -> None:
    place, console = Place(HOME), _console()
    if not running(place):
        last = place.read()
        before = f"{last.champion.version} was live last; `evergreen serve` brings it back" if last else "nothing has been live here yet"
        raise ReleaseError(f"no service runs in {HOME}; {before}")
    told = ask(place, {"command": "live"})
    since = datetime.fromisoformat(told["since"]).astimezone()
    console.print(Text.assemble("Live: ", (told["champion"], "bold green"), f"  since {since:%Y-%m-%d %H:%M} on {told['address']}"))
    if told["previous"]:
        console.print(f"  before it  {told['previous']}, warm: evergreen rollback")
    if told["trial"]:
        share = f" for {told['trial']['share']:.0%} of the keys" if told["trial"]["mode"] == "canary" else ""
        console.print(f"  on trial   {told['trial']['version']}, {told['trial']['mode']}{share}: evergreen compare")
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for title, justify in (("process", "left"), ("pid", "right"), ("state", "left"), ("restarts", "right")):
        table.add_column(title, justify=justify, header_style="dim")  # type: ignore[arg-type]
    for process in told["processes"]:
        state = Text("ready", "green") if process["ready"] else Text("starting", "yellow")
        table.add_row(process["name"], str(process["pid"] or "-"), state, str(process["restarts"]))
    console.print()
    console.print(table)


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)
