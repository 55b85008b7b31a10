"""`evergreen compare`: the trial that the request log holds, champion against challenger, and what it has shown so far."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from flows.commands.screen import screen, when
from flows.request_log import log_url, moment, opened

if TYPE_CHECKING:
    from evergreen.evaluation.sequential import Bounds
    from evergreen.monitoring.trials.comparison import Arm, Comparison

SHOWN = 8  # disagreements and labels in a table, at most
COLOURS = {"better": "bold green", "no worse": "bold green", "worse": "bold red", "not yet": "bold yellow"}


def add_commands(commands: Any) -> None:
    """Add this command to the command line."""
    compare = commands.add_parser("compare", help="champion against challenger: what the trial on record has shown so far")
    compare.add_argument("--since", type=moment, metavar="WHEN", help="count answers from then on: 2026-11-01, 2026-11-01T08:00, 12h, 7d")
    compare.add_argument("--margin", type=_margin, metavar="SHARE", help="a loss of accuracy that would not matter, such as 0.02")
    compare.add_argument("--mode", choices=("shadow", "canary"), help="of the trial, where there was one of each")
    compare.add_argument("--challenger", metavar="VERSION", help="another challenger than the one that answered last")
    compare.add_argument("--champion", metavar="VERSION", help="another champion than the one that answered last beside it")
    compare.add_argument("--log", metavar="URL", help="database of the request log, instead of params.yaml's serve.log.url")
    compare.add_argument("--json", action="store_true", help="print the whole comparison as JSON")
    compare.set_defaults(run=_run)


def _margin(word: str) -> float:
    try:
        margin = float(word)
    except ValueError:
        margin = 0.0
    if not 0 < margin < 1:
        raise argparse.ArgumentTypeError(f"a margin is a share between 0 and 1, such as 0.02 for two points, not {word!r}")
    return margin


def _run(given: argparse.Namespace) -> None:
    from evergreen.monitoring.trials.words import notes, sentence

    comparison = _compared(given)
    if given.json:
        content = {**comparison.report(), "sentence": sentence(comparison), "notes": list(notes(comparison))}
        print(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))
        return
    show(comparison, screen())


def _compared(given: argparse.Namespace) -> "Comparison":
    from evergreen.monitoring.trials import trial as on_record
    from evergreen.monitoring.trials.comparison import compare_arms, compare_pairs

    with opened(given.log or log_url()) as engine, engine.connect() as connection:
        trial = on_record.find_trial(connection, since=given.since, mode=given.mode, challenger=given.challenger, champion=given.champion)
        others = on_record.others(connection, trial)
        if trial.mode == "shadow":
            pairs = on_record.pairs(connection, trial)
            return compare_pairs(trial, pairs, told=on_record.told(connection, trial), others=others, margin=given.margin)
        arms = (on_record.arm(connection, trial, challenger=which) for which in (False, True))
        return compare_arms(trial, *arms, others=others, margin=given.margin)


def show(comparison: "Comparison", console: Console) -> None:
    """Print a comparison for a person."""
    from evergreen.monitoring.trials.words import notes, sentence

    trial = comparison.trial
    console.print()
    console.print(Text.assemble((f"{trial.mode.capitalize()}  ", "bold"), trial.challenger, (" against ", "dim"), trial.champion))
    console.print(Text(f"from {when(trial.start)} to {when(trial.end)}", style="dim"))
    console.print()
    console.print(Padding(_figures(comparison), (0, 0, 0, 2)))
    for heading, table in (("Where they disagree", _disagreements(comparison)), ("Right, by label", _labels(comparison))):
        if table is not None:
            console.print()
            console.print(Text(heading, style="bold"))
            console.print(Padding(table, (0, 0, 0, 2)))
    console.print()
    word, _, reason = sentence(comparison).partition(": ")
    console.print(Text.assemble(("Verdict  ", "bold"), (word, COLOURS[comparison.verdict]), f": {reason}"))
    for note in notes(comparison):
        console.print(Padding(Text(note, style="dim"), (0, 0, 0, 2)))
    console.print()


def _figures(comparison: "Comparison") -> Table:
    table = _table(("", "left"), ("champion", "right"), ("", "right"), ("challenger", "right"), ("", "right"))
    arms = (comparison.champion, comparison.challenger)

    def row(title: str, *cells: tuple[str, str]) -> None:
        table.add_row(title, *(Text(part, style="dim" if place else "") for cell in cells for place, part in enumerate(cell)))

    row("version", *((arm.version, "") for arm in arms))
    row("answers", *((f"{arm.answers:,}", "") for arm in arms))
    if comparison.trial.mode == "canary":
        row("API keys", *((f"{arm.keys:,}", "") for arm in arms))
    row("latency p50", *((_milliseconds(arm.p50_ms), "") for arm in arms))
    row("  p95", *((_milliseconds(arm.p95_ms), "") for arm in arms))
    row("  p99", *((_milliseconds(arm.p99_ms), "") for arm in arms))
    row("mean confidence", *((f"{arm.confidence:.3f}", "") for arm in arms))
    row("for a person", *(_share(arm.needs_person) for arm in arms))
    row("labelled", *((f"{arm.labelled:,}", "") for arm in arms))
    row("right", *(_share(arm.accuracy) if arm.labelled else ("-", "") for arm in arms))
    if comparison.agreement is not None:
        row("same label", ("", ""), _share(comparison.agreement))
        row("alone right", *((f"{alone:,}", "") for alone in (comparison.losses, comparison.wins)))
    return table


def _disagreements(comparison: "Comparison") -> Table | None:
    if not comparison.disagreements:
        return None
    table = _table(
        ("champion", "left"), ("challenger", "left"), ("requests", "right"), ("champion right", "right"), ("challenger right", "right")
    )
    for item in comparison.disagreements[:SHOWN]:
        table.add_row(
            *map(Text, (item.champion, item.challenger, f"{item.requests:,}", f"{item.champion_right:,}", f"{item.challenger_right:,}"))
        )
    _rest(table, len(comparison.disagreements), "pairs of labels")
    return table


def _labels(comparison: "Comparison") -> Table | None:
    arms = (comparison.champion, comparison.challenger)
    told = {label: max(_told(arm, label)[0] for arm in arms) for arm_ in arms for label in arm_.labels}
    known = sorted((label for label in told if told[label]), key=lambda label: (-told[label], label))
    if not known:
        return None
    table = _table(("label", "left"), ("champion", "right"), ("", "right"), ("challenger", "right"), ("", "right"))
    for label in known[:SHOWN]:
        cells = [Text(label)]
        for arm in arms:
            rows, right = _told(arm, label)
            cells += [Text(f"{right / rows:.0%}" if rows else "-"), Text(f"{right:,} of {rows:,}", style="dim")]
        table.add_row(*cells)
    _rest(table, len(known), "labels")
    return table


def _told(arm: "Arm", label: str) -> tuple[int, int]:
    figures = arm.labels.get(label)
    return (figures.told, figures.right) if figures else (0, 0)


def _rest(table: Table, rows: int, what: str) -> None:
    if rows > SHOWN:
        table.caption = Text(f"and {rows - SHOWN} more {what}: --json", style="dim")


def _table(*columns: tuple[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0), caption_justify="left")
    for name, justify in columns:
        table.add_column(name, justify=justify, overflow="fold")
    return table


def _share(bounds: "Bounds") -> tuple[str, str]:
    return (f"{bounds.value:.1%}", f"{100 * bounds.low:.1f} … {100 * bounds.high:.1f}") if bounds.value == bounds.value else ("-", "")


def _milliseconds(value: float) -> str:
    return f"{value:,.1f} ms" if value == value else "-"
