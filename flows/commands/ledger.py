"""`evergreen ledger init | show | verify`, `who-was-live`, `versions`: what is on record of every version.

The key that signs lies in EVERGREEN_HOME/signing; it is made when something is to be signed and none is there.
"""

import argparse
import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from evergreen.errors import RegistryError
from flows.commands.screen import screen, when
from flows.releasing import ledger as kept
from flows.request_log import moment

if TYPE_CHECKING:
    from evergreen.release.ledger import Entry
    from evergreen.release.registry import Version

COLOURS = {"promotion": "green", "rollback": "yellow", "override": "yellow", "found": "yellow"}


def add_commands(commands: Any) -> None:
    """Add the commands to the command line."""
    ledger = commands.add_parser("ledger", help="who made which version live, when and why: signed, and nothing can be taken out")
    actions = ledger.add_subparsers(title="actions", required=True, metavar="ACTION")
    actions.add_parser("init", help="make the key that signs it, where there is none").set_defaults(run=_init)
    show = actions.add_parser("show", help="print its lines, the newest last")
    show.add_argument("--last", type=int, metavar="N", help="the newest N alone")
    show.add_argument("--json", action="store_true", help="as JSON, one line each, with all their facts")
    show.set_defaults(run=_show)
    verify = actions.add_parser("verify", help="check chain, signatures and tags, and name each line that is broken")
    verify.add_argument("--key", action="append", default=[], type=Path, metavar="FILE", help="trust this public key too; may be repeated")
    verify.set_defaults(run=_verify)
    who = commands.add_parser("who-was-live", help="say which version answered at a moment, and on whose word")
    who.add_argument("--at", required=True, type=moment, metavar="WHEN", help="2026-11-01, 2026-11-01T08:00 (local), or ago: 12h, 7d")
    who.add_argument("--json", action="store_true", help="the line of the ledger")
    who.set_defaults(run=_who)
    versions = commands.add_parser("versions", help="list every version, and candidates that became none")
    versions.add_argument("--json", action="store_true", help="as JSON")
    versions.set_defaults(run=_versions)


def _init(given: argparse.Namespace) -> None:
    new = not (kept.SIGNING / f"{kept.LEDGER_KEY}.pem").exists()
    key = kept.ensure_key()
    print(f"{key}  {'signs the ledger from now on' if new else 'signs the ledger already'}; keep it to yourself, and a copy somewhere safe")
    print(f"{key.with_suffix('.pub')}  is for those who shall verify it: evergreen ledger verify --key {key.with_suffix('.pub').name}")


def _read(root: Path) -> "list[Entry]":
    from evergreen.release.ledger import Ledger
    from evergreen.release.registry import Registry

    entries = Ledger(Registry(root)).read()
    if not entries:
        raise RegistryError(f"nothing is on record in {root} yet; `evergreen retrain` makes the first version")
    return entries


def _show(given: argparse.Namespace) -> None:
    entries = _read(Path.cwd())
    shown = entries[-given.last :] if given.last else entries
    if given.json:
        print("\n".join(json.dumps(asdict(entry), ensure_ascii=False) for entry in shown))
        return
    table = _table("#", "when", "event", "version", "model", "who", "why")
    for entry in shown:
        event = Text(entry.event, style=COLOURS.get(entry.event, ""))
        table.add_row(str(entry.number), when(entry.moment), event, entry.version or "-", entry.model_version or "-", entry.who, entry.why)
    screen().print(table)


def _verify(given: argparse.Namespace) -> None:
    from evergreen.release.ledger import Ledger
    from evergreen.release.registry import Registry
    from flows.releasing.settle import commit_untold

    ledger = Ledger(Registry(Path.cwd()), memory=kept.MEMORY)
    trusted = kept.trusted_keys(given.key)
    faults = ledger.verify(trusted, partial(commit_untold, ledger))
    if faults:
        lines = "\n".join(f"  {fault}" for fault in faults)
        raise RegistryError(f"the ledger of {Path.cwd()} is not as it was written:\n{lines}")
    signers = ", ".join(sorted(trusted)) or "none"
    print(
        f"{len(_read(Path.cwd()))} lines, each following the one before and signed by a trusted key ({signers}); the tags agree with them"
    )


def _who(given: argparse.Namespace) -> None:
    from evergreen.release.ledger import GOES_LIVE, Ledger
    from evergreen.release.registry import Registry

    entries = _read(Path.cwd())
    entry = Ledger(Registry(Path.cwd())).who_was_live(given.at)
    if entry is None:
        first = next((one for one in entries if one.event in GOES_LIVE), None)
        told = f"the first went live {when(first.since)}" if first else "nothing has gone live yet"
        raise RegistryError(f"nothing was live {when(given.at)} by this ledger: {told}")
    if given.json:
        print(json.dumps(asdict(entry), ensure_ascii=False))
        return
    after = next((one for one in entries if one.number > entry.number and one.event in GOES_LIVE and one.since > given.at), None)
    console = screen()
    console.print(
        Text.assemble((entry.version or "no version", "bold green"), f"  model {entry.model_version}  commit {(entry.commit or '-')[:12]}")
    )
    console.print(f"live from {when(entry.since)} {f'to {when(after.since)}' if after else 'until now'}")
    console.print(f"{entry.event} by {entry.who}: {entry.why}  (line {entry.number} of the ledger)")


def _versions(given: argparse.Namespace) -> None:
    from evergreen.release.registry import Registry

    registry = Registry(Path.cwd())
    entries, live = _read(Path.cwd()), registry.live()
    rows = [_row(version, entries, live) for version in registry.versions()]
    named = {row["commit"] for row in rows}
    candidates = [entry for entry in entries if entry.event == "candidate" and entry.commit not in named]
    if given.json:
        unnamed = [
            {"commit": entry.commit, "model_version": entry.model_version, **_verdict(entry.commit, entries)} for entry in candidates
        ]
        print(json.dumps({"versions": rows, "candidates": unnamed}, ensure_ascii=False, indent=2))
        return
    table = _table("version", "model", "commit", "made", "verdict", "live since", "why")
    for row in rows:
        name = Text(row["version"], style="bold green" if row["live"] else "")
        table.add_row(
            name, row["model_version"] or "-", row["commit"][:12], row["made"], row["verdict"] or "-", row["since"] or "-", row["why"] or ""
        )
    for entry in candidates:
        told = _verdict(entry.commit, entries)
        table.add_row(
            "-", entry.model_version or "-", (entry.commit or "-")[:12], when(entry.moment), told["verdict"] or "-", "-", told["why"] or ""
        )
    screen().print(table)


def _row(version: "Version", entries: "list[Entry]", live: "Version | None") -> dict[str, Any]:
    from evergreen.release.ledger import GOES_LIVE

    went = [entry for entry in entries if entry.commit == version.commit and entry.event in GOES_LIVE]
    return {
        "version": version.name,
        "model_version": version.model_version,
        "commit": version.commit,
        "made": when(version.time),
        "live": live == version,
        "since": when(went[-1].since) if went else None,
        **_verdict(version.commit, entries),
    }


def _verdict(commit: str | None, entries: "list[Entry]") -> dict[str, Any]:
    """Return what the gate said of a commit, and what was said of it last: by a person who overrode it, else by whoever wrote last."""
    told = [entry for entry in entries if entry.commit == commit]
    verdict = next((entry.facts["verdict"] for entry in reversed(told) if entry.facts.get("verdict")), None)
    overridden = next((entry for entry in reversed(told) if entry.event == "override"), None)
    if overridden:
        return {"verdict": verdict, "why": f"{overridden.who}, until {when(overridden.facts['until'])}: {overridden.why}"}
    return {"verdict": verdict, "why": told[-1].why if told else None}


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in titles:
        table.add_column(title, overflow="fold", no_wrap=title in ("when", "version", "made", "live since"))
    return table
