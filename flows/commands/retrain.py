"""`evergreen retrain`: make a new version now, from the newest labels; the first one where nothing is live yet."""

import argparse
import getpass
from pathlib import Path
from typing import Any

from rich.text import Text

from flows.commands.screen import screen


def add_commands(commands: Any) -> None:
    """Add `retrain` to the command line."""
    retrain = commands.add_parser("retrain", help="make a new version from the newest labels, and release it where the gate says PROMOTE")
    retrain.add_argument("--who", metavar="NAME", help="who asks for it (the name that git knows, or the login)")
    retrain.add_argument("--why", metavar="WORDS", help="the reason, for the ledger")
    retrain.add_argument("--force", action="store_true", help="in spite of a cooldown, a spent budget or few new labels")
    retrain.set_defaults(run=_retrain)


def _retrain(given: argparse.Namespace) -> None:
    from flows import HOME
    from flows.bridge import pipeline
    from flows.running import own_server

    root, console = Path.cwd(), screen()
    pipeline.read_pipeline(root)
    HOME.mkdir(parents=True, exist_ok=True)
    console.print(Text("Starting a flow run …", style="dim"))
    ready = own_server.begin(root)
    from flows.commands.terminal import stages_shown
    from flows.retrain import retrain

    ready()
    with stages_shown(console):
        state = retrain(root, person=given.who or _person(root), reason=given.why, force=given.force, return_state=True)
        state.result()  # raises what went wrong
    console.print()
    console.print(Text(str(state.message or state.name), style="yellow" if state.name == "Refused" else "bold"), soft_wrap=True)


def _person(root: Path) -> str:
    from evergreen.release.plumbing import Git

    return Git(root).person() or getpass.getuser()
