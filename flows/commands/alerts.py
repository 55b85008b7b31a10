"""`evergreen alerts`: who has asked for a retraining, and what became of it."""

import argparse
from pathlib import Path

from rich.table import Table
from rich.text import Text

from evergreen.errors import MonitorError
from flows.commands.screen import screen


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `alerts` to the command line."""
    shown = commands.add_parser("alerts", help="show the alerts on record, and what became of them")
    shown.add_argument("--open", action="store_true", help="only those that wait for a retraining")
    shown.add_argument("--limit", type=int, default=20, metavar="N", help="at most so many, the newest first (default 20)")
    shown.set_defaults(run=_shown)
    actions = shown.add_subparsers(title="actions", metavar="ACTION")
    close = actions.add_parser("close", help="close an open alert for good: no retraining starts for it")
    close.add_argument("alert", metavar="ID", help="the alert's id, or its beginning")
    close.add_argument("--why", metavar="WORDS", required=True, help="the reason, which goes on record")
    close.add_argument("--who", metavar="NAME", help="who closes it (the name that git knows, or the login)")
    close.set_defaults(run=_close)


def _close(given: argparse.Namespace) -> None:
    from evergreen.monitoring.loop import alerts
    from flows.releasing.ledger import person
    from flows.running.alerting import opened

    with opened(Path.cwd()) as engine:
        found = [alert for alert in alerts.listed(engine, limit=1000) if alert.id.startswith(given.alert)]
        if len(found) != 1:
            raise MonitorError(
                f"{'several alerts have' if found else 'no alert has'} an id that begins with {given.alert!r}: evergreen alerts"
            )
        if alerts.close(engine, found[0].id, f"{given.who or person(Path.cwd())}: {given.why}") is None:
            now = alerts.find(engine, found[0].id) or found[0]
            by = f" by retraining {now.retraining}; cancel its run in Prefect's pages" if now.state == "taken" else ""
            raise MonitorError(f"alert {now.id} is not open: it is {now.state}{by}")
    print(f"alert {found[0].id} is closed; the next look of the monitor may raise another")


def _shown(given: argparse.Namespace) -> None:
    from evergreen.monitoring.loop import alerts
    from evergreen.monitoring.policy import moment
    from flows.running.alerting import opened

    with opened(Path.cwd()) as engine:
        found = alerts.listed(engine, states=("open", "taken") if given.open else None, limit=given.limit)
    console = screen(140)
    if not found:
        return console.print("No alert is open." if given.open else "No alert has been raised yet.")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("alert", "raised", "from", "trigger", "told", "state", "because"):
        table.add_column(title, no_wrap=title != "because")
    styles = {"open": "yellow", "taken": "cyan", "done": "green", "given up": "red"}
    for alert in found:
        state = Text(alert.state, styles.get(alert.state, "dim"))
        words = (alert.id, moment(alert.raised), alert.source, Text(alert.trigger), str(alert.told))
        closing = f"; closed by {alert.closing}" if alert.closing else ""
        table.add_row(*words, state, Text(alert.because + closing))
    console.print(table)
