"""`evergreen alerts`: who has asked for a retraining, and what became of it."""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

PLAIN_WIDTH = 140


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `alerts` to the command line."""
    shown = commands.add_parser("alerts", help="show the alerts on record, and what became of them")
    shown.add_argument("--open", action="store_true", help="only those that wait for a retraining")
    shown.add_argument("--limit", type=int, default=20, metavar="N", help="at most so many, the newest first (default 20)")
    shown.set_defaults(run=_shown)


def _shown(given: argparse.Namespace) -> None:
    from evergreen.monitoring import alerts
    from evergreen.monitoring.policy import moment
    from flows.running.alerting import opened

    with opened(Path.cwd()) as engine:
        found = alerts.listed(engine, states=("open", "taken") if given.open else None, limit=given.limit)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    if not found:
        return console.print("No alert is open." if given.open else "No alert has been raised yet.")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("alert", "raised", "from", "trigger", "told", "state", "because"):
        table.add_column(title, no_wrap=title != "because")
    styles = {"open": "yellow", "taken": "cyan", "done": "green", "given up": "red"}
    for alert in found:
        state = Text(alert.state, styles.get(alert.state, "dim"))
        words = (alert.id, moment(alert.raised), alert.source, Text(alert.trigger), str(alert.told))
        table.add_row(*words, state, Text(alert.because))
    console.print(table)
