"""`evergreen promote` and `evergreen rollback`: what a person says shall be live, on their word, told to the ledger."""

import argparse
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from evergreen.errors import RegistryError, ReleaseError
from flows.request_log import UNITS, moment

if TYPE_CHECKING:
    from evergreen.release.ledger import Ledger
    from flows.releasing.permission import Override

VERSION = "v1.2.0, the beginning of a model's version or of a commit, or a branch"


def add_commands(commands: Any) -> None:
    """Add the commands to the command line."""
    promote = commands.add_parser("promote", help="make a version live: tag, ledger, swap without a dropped request")
    promote.add_argument("version", nargs="?", metavar="VERSION", help=f"{VERSION}; without it, the newest PROMOTE that is not live yet")
    promote.add_argument("--who", metavar="NAME", help="on whose word; without it, the name that git knows, or the login")
    promote.add_argument("--why", metavar="REASON", help="why; needed where the gate has not said PROMOTE")
    promote.add_argument("--until", type=until, metavar="WHEN", help="end of an override: 2026-12-31, or from now: 14d, 12h")
    promote.add_argument("--trial", action="store_true", help="first the trial that params.yaml asks for (release.trial)")
    promote.set_defaults(run=_promote)
    back = commands.add_parser("rollback", help="make the version before this one live again, or another")
    back.add_argument("version", nargs="?", metavar="VERSION", help=f"{VERSION}; without it, the one before")
    back.add_argument("--who", metavar="NAME", help="on whose word; without it, the name that git knows, or the login")
    back.add_argument("--why", metavar="REASON", help="why")
    back.add_argument("--until", type=until, metavar="WHEN", help="end of an override, where the gate has not said PROMOTE")
    back.set_defaults(run=_roll_back)


def until(word: str) -> float:
    """Return a moment to come in seconds since 1970: a date, a date and time, or how long from now."""
    ahead = re.fullmatch(r"(\d{1,6})([mhdw])", word)
    found = time.time() + int(ahead[1]) * UNITS[ahead[2]] if ahead else moment(word)
    if found <= time.time():
        raise argparse.ArgumentTypeError(f"{word!r} is past; an override ends in the future")
    return found


def _promote(given: argparse.Namespace) -> None:
    from flows.bridge.committed import params_of
    from flows.release import release
    from flows.releasing.ledger import opened
    from flows.releasing.settle import pending

    root = Path.cwd()
    ledger = opened(root)
    if given.version:
        commit = named(ledger, given.version)
    else:
        waiting = pending(ledger.read())
        if waiting is None or waiting.commit is None:
            raise ReleaseError("no version waits to be promoted; name one (`evergreen versions`): evergreen promote VERSION")
        commit = waiting.commit
    settings = params_of(root, _say).release if given.trial else None
    who = given.who or _person(root)
    done = release(root, commit, who=who, why=given.why or "promoted by hand", override=_override(given, who), settings=settings, say=_say)
    _end(done.words, well=done.live)


def _roll_back(given: argparse.Namespace) -> None:
    from flows.release import release, roll_back

    root = Path.cwd()
    who, why = given.who or _person(root), given.why or "rolled back by hand"
    if given.version is None:
        live = roll_back(root, who=who, why=why, say=_say)
        before = f"; before it: {live.previous.version}" if live.previous else ""
        return _end(f"{live.champion.version} is live{before}", well=True)
    from flows.releasing.ledger import opened

    commit = named(opened(root), given.version)
    done = release(root, commit, who=who, why=why, event="rollback", override=_override(given, who), say=_say)
    _end(done.words, well=done.live)


def named(ledger: "Ledger", name: str) -> str:
    """Return the commit that a person means: a version's, a candidate's, or any that git knows by that name."""
    try:
        return ledger.registry.find(name).commit
    except RegistryError as unknown:
        commits = {
            entry.commit
            for entry in ledger.read()
            if entry.event == "candidate" and entry.commit and len(name) >= 4 and (entry.model_version or "").startswith(name)
        }
        found = commits.pop() if len(commits) == 1 else ledger.registry.git.commit_of(name)
        if found is None:
            raise unknown from None
        return found


def _override(given: argparse.Namespace, who: str) -> "Override | None":
    from flows.releasing.permission import Override

    if given.until is None:
        return None
    if not (given.who and given.why):
        raise ReleaseError("an override needs a name, a reason and an end: --who NAME --why REASON --until 14d")
    return Override(who, given.why, given.until)


def _person(root: Path) -> str:
    from flows.releasing.ledger import person

    return person(root)


def _say(words: str) -> None:
    _console().print(Text(f"  {words}", style="dim"))


def _end(words: str, *, well: bool) -> None:
    _console().print(Text(words, style="bold green" if well else "bold yellow"))
    if not well:
        sys.exit(1)


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)
