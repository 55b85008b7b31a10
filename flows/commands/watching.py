"""`evergreen monitor [show | dashboard]`: look at live traffic now, show what was seen and decided. `evergreen label`: bring labels in."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from evergreen.drift.assumption import SENTENCE
from evergreen.errors import MonitorError
from evergreen.wording import counted
from flows.commands.screen import screen
from flows.request_log import log_url, moment, opened

if TYPE_CHECKING:
    from evergreen.monitoring.watch.history import Recorded
    from flows.looking.look import Look

SHOWN = 20
PORT = 8085
ACTIONS = {"retrain": "bold red", "wait": "bold yellow", "nothing": "green"}


def add_commands(commands: Any) -> None:
    """Add `monitor` and what it can do to the command line."""
    monitor = commands.add_parser("monitor", help="look at live traffic now: drift, quality, and whether to retrain")
    when = "2026-11-01, 2026-11-01T08:00, or how long ago: 12h, 7d"
    monitor.add_argument("--since", type=moment, metavar="WHEN", help=f"look at answers from then on: {when}")
    monitor.add_argument("--until", type=moment, metavar="WHEN", help="look at answers before then")
    monitor.add_argument("--log", metavar="URL", help="database of the request log, instead of params.yaml's serve.log.url")
    monitor.set_defaults(run=_look)
    actions = monitor.add_subparsers(title="actions", metavar="ACTION")
    show = actions.add_parser("show", help="what was seen and decided so far, or one window in full")
    show.add_argument("window", nargs="?", metavar="WINDOW", help="the beginning of a window's id")
    show.add_argument("--last", type=int, default=SHOWN, metavar="N", help=f"windows shown, at most (default {SHOWN})")
    show.add_argument("--json", action="store_true", help="as JSON, for programs")
    show.add_argument("--log", metavar="URL", help="database of the request log, instead of params.yaml's serve.log.url")
    show.set_defaults(run=_show)
    dashboard = actions.add_parser("dashboard", help="Evidently's pages over all windows, on this machine alone, until Ctrl-C")
    dashboard.add_argument("--port", type=int, default=PORT, help=f"port to listen on (default {PORT})")
    dashboard.set_defaults(run=_dashboard)
    label = commands.add_parser("label", help="bring in labels from a filled-in batch: a CSV file with the columns id and label")
    label.add_argument("file", type=Path, metavar="FILE", help="such as .evergreen/monitor/batches/ID.csv, its column label filled in")
    label.add_argument("--log", metavar="URL", help="database of the request log, instead of params.yaml's serve.log.url")
    label.set_defaults(run=_label)


def _look(given: argparse.Namespace) -> None:
    from flows.looking.look import look

    console = screen()
    found = look(Path.cwd(), url=given.log, since=given.since, until=given.until, say=lambda _: None)
    show_look(found, console)


def _dashboard(given: argparse.Namespace) -> None:
    from flows import HOME
    from flows.looking.pages import workspace

    folder = workspace(HOME)
    if not folder.is_dir():
        raise MonitorError(f"there is nothing to show yet: {folder} is made with the first window (evergreen monitor)")
    from evergreen.monitoring.watch.evidently_watch import serve

    console = screen()
    console.print(Text(f"Evidently's pages are on http://127.0.0.1:{given.port} until Ctrl-C", style="green"))
    serve(folder, port=given.port)


def _label(given: argparse.Namespace) -> None:
    import time

    from evergreen.monitoring.log import request_log
    from evergreen.monitoring.watch.labelled_file import read_labels

    told = read_labels(given.file, now=time.time())
    with opened(given.log or log_url()) as engine:
        unknown = [row.request_id for row in told if not request_log.known(engine, row.request_id)]
        if unknown:
            raise MonitorError(
                f"{given.file}: the request log holds no answer {unknown[0]!r} (and {len(unknown) - 1} others); nothing was taken in"
            )
        news = [row for row in told if request_log.label_of(engine, row.request_id) != row.label]
        request_log.insert(engine, news)
    known = f"; {len(told) - len(news):,} had been told before" if len(news) < len(told) else ""
    screen().print(Text(f"{counted(len(news), 'label')} taken in{known}", style="green"))


def show_look(found: "Look", console: Console) -> None:
    """Print what a look came to."""
    console.print()
    if found.waiting:
        console.print(Text(f"No new window: {found.waiting}"), soft_wrap=True)
    if found.facts:
        show_window(found.facts, console)
    if found.decision:
        console.print()
        _decision(found.decision, console)
    if found.page:
        console.print()
        console.print(Text(f"page  {found.page}", style="dim"), soft_wrap=True)
    console.print()


def show_window(facts: dict[str, Any], console: Console) -> None:
    """Print the facts of one window."""
    from flows.looking.words import drift_of
    from flows.looking.words import moment as at

    console.print(
        Text.assemble(("Window ", "bold"), (f"{facts['number']}", "bold"), f" of {facts['model_version']}", (f"  {facts['id']}", "dim"))
    )
    labelled = f"{facts['rows']:,} answers, {facts['labelled']:,} labelled"
    console.print(Text(f"{at(facts['since'])} to {at(facts['until'])} UTC, {labelled}", style="dim"))
    console.print()
    console.print(Padding(_figures(facts), (0, 0, 0, 2)))
    if facts["estimate"]:
        console.print(Text(SENTENCE, style="dim"), soft_wrap=True)
    console.print()
    drift = facts["drift"]
    untested = drift["p_value"] is None
    verdict = ("DRIFT", "bold red") if drift["alarm"] else (drift_of(facts), "yellow" if untested else "green")
    told = [] if untested else [f"p = {drift['p_value']:.2g}, alarm below {drift['level']:.2g}"]
    told += [drift["note"]] if drift.get("note") else []
    console.print(Text.assemble(("Drift  ", "bold"), verdict, f"  {'; '.join(told)}"))
    console.print(Padding(_tests(drift["tests"]), (0, 0, 0, 2)))
    explained = facts["explanation"] or {}
    changes = [(one["word"], "word", one) for one in explained.get("words", [])]
    changes += [(f"{one['by']} {one['name']}", "slice", one) for one in explained.get("slices", [])]
    if changes:
        console.print()
        console.print(Text("What has changed", style="bold"))
        console.print(Padding(_changes(changes), (0, 0, 0, 2)))


def _changes(changes: list[tuple[str, str, dict[str, Any]]]) -> Table:
    table = _table(("", "left"), ("", "left"), ("now", "right"), ("at the snapshot", "right"), ("", "left"))
    for name, kind, one in changes:
        table.add_row(Text(name), Text(kind, style="dim"), f"{one['now']:.1%}", f"{one['before']:.1%}", "new" if one.get("new") else "")
    return table


def _figures(facts: dict[str, Any]) -> Table:
    from flows.looking.words import spanned

    table = _table(("", "left"), ("now", "right"), ("at the snapshot", "right"), ("lost", "right"))
    for name, part in (("accuracy, by late labels", facts["quality"]), ("accuracy, estimated", facts["estimate"])):
        if part and part.get("accuracy"):
            table.add_row(name, spanned(part["accuracy"]), f"{facts['accuracy_at_snapshot']:.3f}", spanned(part.get("loss")))
        else:
            table.add_row(name, "-", "-", "-")
    return table


def _tests(tests: list[dict[str, Any]]) -> Table:
    table = _table(("test", "left"), ("p-value", "right"), ("", "left"), ("where", "left"))
    ordered = sorted(tests, key=lambda test: (not test["alarm"], test["p_value"] is None, test["p_value"] or 0))
    for test in ordered:
        p_value = "-" if test["p_value"] is None else f"{test['p_value']:.2g}"
        table.add_row(
            Text(test["name"]), p_value, Text("alarm" if test["alarm"] else "", style="red"), Text(test["note"] or "", style="dim")
        )
    return table


def _decision(decision: "Recorded", console: Console) -> None:
    action = (decision.action, ACTIONS.get(decision.action, "bold"))
    console.print(Text.assemble(("Decision  ", "bold"), action, f"  {decision.because}"), soft_wrap=True)


def _show(given: argparse.Namespace) -> None:
    import json
    from dataclasses import asdict

    from evergreen.monitoring.log import tables
    from evergreen.monitoring.watch import history

    with opened(given.log or log_url()) as engine:
        tables.check(engine, name=history.NAME, version=history.SCHEMA)
        windows = history.read(engine, last=None if given.window else given.last)
        decisions = history.read_decisions(engine, last=10 * given.last)
    if given.window:
        windows = [one for one in windows if one["id"].startswith(given.window)]
        if len(windows) != 1:
            raise MonitorError(f"{'no window has' if not windows else 'several windows have'} an id that begins with {given.window!r}")
    ids = {one["id"] for one in windows}
    decisions = [one for one in decisions if one.window in ids or (one.window is None and not given.window)]
    if given.json:
        print(json.dumps({"windows": windows, "decisions": [asdict(one) for one in decisions]}, indent=2, ensure_ascii=False))
        return
    console = screen()
    console.print()
    if given.window:
        show_window(windows[0], console)
    else:
        console.print(_windows(windows, decisions) if windows else Text("No window has been judged yet: evergreen monitor"))
        if any(one["estimate"] for one in windows):
            console.print(Text(SENTENCE, style="dim"), soft_wrap=True)
    for one in decisions if given.window else decisions[-1:]:
        console.print()
        _decision(one, console)
    console.print()


def _windows(windows: list[dict[str, Any]], decisions: "list[Recorded]") -> Table:
    from flows.looking.words import moment as at
    from flows.looking.words import spanned

    decided = {one.id: one for one in decisions}
    table = _table(
        ("window", "left"), ("version", "left"), ("", "right"), ("until (UTC)", "left"), ("answers", "right"), ("drift p", "right")
    )
    for name in ("measured", "estimated", "decision"):
        table.add_column(name, no_wrap=True)
    for one in windows:
        decision = decided.get(one["id"])
        figures = [
            spanned(part["accuracy"]).split(" ")[0] if (part := one[name]) and part.get("accuracy") else "-"
            for name in ("quality", "estimate")
        ]
        found = one["drift"]["p_value"]
        p_value = Text("-" if found is None else f"{found:.2g}", style="red" if one["drift"]["alarm"] else "")
        action = Text(decision.action, style=ACTIONS.get(decision.action, "")) if decision else Text("-")
        table.add_row(
            one["id"][:8], Text(one["model_version"]), f"{one['number']}", at(one["until"]), f"{one['rows']:,}", p_value, *figures, action
        )
    return table


def _table(*columns: tuple[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name, justify in columns:
        table.add_column(name, justify=justify, overflow="fold")
    return table
