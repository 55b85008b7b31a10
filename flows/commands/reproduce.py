"""`evergreen reproduce VERSION`: the command, and the table that it shows."""

import argparse
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evergreen.release.reproduction import Comparison, Row
from flows.commands.screen import screen

STYLES = {"equal": "green", "measured": "dim", "differs": "bold red", "missing": "bold red"}


def add_commands(commands: Any) -> None:
    """Add the command to the command line's subparsers."""
    reproduce = commands.add_parser("reproduce", help="rebuild a version from its record, and compare every output with it")
    reproduce.add_argument("version", metavar="VERSION", help="v1.2.0, or the beginning of its model's version or of its commit")
    reproduce.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    """Rebuild and compare; exit with status 1 where anything differs."""
    from evergreen.disk import check_room
    from evergreen.release.registry import Registry
    from evergreen.release.vouching import vouched
    from flows import HOME
    from flows.releasing.ledger import trusted_keys
    from flows.running import own_server

    registry = Registry(Path.cwd())
    vouched(registry, registry.find(given.version), trusted_keys())  # a refusal needs no flow run
    console = screen()
    console.print(Text("Starting a flow run; every stage of the version runs again …", style="dim"))
    HOME.mkdir(parents=True, exist_ok=True)
    check_room(HOME)
    ready = own_server.begin(Path.cwd())
    from flows.commands.terminal import stages_shown
    from flows.reproduce import reproduce

    ready()
    with stages_shown(console):
        done = reproduce(Path.cwd(), given.version)
    show(done, console)
    if not done.equal:
        sys.exit(1)


def show(done: Comparison, console: Console) -> None:
    """Print the table, what differs of the machine, and the outcome."""
    console.print()
    console.print(_table(done.rows))
    for name, (recorded, here) in done.tuple_.items():
        kind = "another machine" if name in done.machine else "another input"
        console.print(Text(f"{kind}: {name} is {_short(here)} here, {_short(recorded)} on record", style="yellow"))
    for note in done.notes:
        console.print(Text(f"note: {note}", style="dim"))
    console.print(Text(done.words(), style="bold green" if done.equal else "bold red"), soft_wrap=True)


def _table(rows: list[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("stage", "output", "on record", "rebuilt", ""):
        table.add_column(name, no_wrap=True)
    before = None
    for row in rows:
        stage, before = row.stage if row.stage != before else "", row.stage
        table.add_row(stage, row.path, row.recorded[:12], (row.rebuilt or "-")[:12], Text(row.outcome, style=STYLES[row.outcome]))
    return table


def _short(value: Any) -> str:
    said = "nothing" if value is None else str(value)
    return said if len(said) <= 60 else f"{said[:57]}…"
