"""What `evergreen init` shows in the terminal: the profile of the data, the changed settings, the next command."""

from pathlib import Path
from typing import Any

from rich.bar import Bar
from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from evergreen.data.profile import Profile
from evergreen.data.sources import Source

LABELS_SHOWN = 16
GROUPS_SHOWN = 8
BAR_WIDTH = 32  # terminal columns


def show_profile(console: Console, source: Source, found: Profile) -> None:
    """Show files, facts, labels, groups and context of a source."""
    console.print(Rule(Text(str(source.path), "bold"), align="left"))
    console.print(_facts(source, found))
    console.print(Text(f"\n{len(found.labels)} labels; the largest has {found.imbalance:.1f} times the rows of the smallest", "bold"))
    console.print(_bars(found.labels, LABELS_SHOWN))
    for kind, columns in (("Group", found.groups), ("Context", found.context)):
        for name, values in columns.items():
            console.print(Text(f"\n{kind} {name}", "bold"))
            console.print(_bars(values, GROUPS_SHOWN))


def show_changes(console: Console, path: Path, changes: dict[str, tuple[Any, Any]]) -> None:
    """Show the settings that were written, old and new."""
    console.print(Rule(Text(f"written to {path}: {len(changes)} settings", "bold"), align="left"))
    table = Table(box=None, padding=(0, 1), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=20)
    table.add_column()
    table.add_column(overflow="fold")
    for place, (old, new) in changes.items():
        table.add_row(Text(place, "cyan"), Text(_plain(old), "dim"), Text("->", "dim"), Text(_plain(new)))
    console.print(table if changes else Text("  nothing to change; everything else stays as it was"))


def show_next(console: Console, refused: list[str]) -> None:
    """Show what validate is going to refuse, if anything, and the command that comes next."""
    for finding in refused:
        console.print(Text(f"validate will refuse this data: {finding}", "yellow"))
    console.print(Rule(Text("next", "bold"), align="left"))
    console.print("  Look at [cyan]document[/] in params.yaml: purpose, limits, owner and licence are yours to say.")
    console.print("  Then run [bold green]evergreen train[/] (or [bold green]dvc repro[/]).\n")


def _facts(source: Source, found: Profile) -> Table:
    table = Table(box=None, padding=(0, 2), show_header=False)
    names = ", ".join(f"{file.path.name} {len(file.table):,}" for file in source.files)
    rows = [("rows", f"{found.rows:,}" + (f" ({names})" if len(source.files) > 1 else ""))]
    if source.ignored:
        rows.append(("left alone", ", ".join(source.ignored)))
    if found.splits:
        rows.append(("splits", ", ".join(f"{name} {number:,}" for name, number in found.splits.items())))
    if found.period:
        rows.append(("dates", f"{found.period[0]} to {found.period[1]}"))
    characters, words = found.characters, found.words
    rows += [
        ("script", ", ".join(f"{name} {share:.1%}" for name, share in list(found.scripts.items())[:5]) or "none"),
        (
            "length",
            f"{characters.median:,} characters in the median, 99% up to {characters.p99:,}, {characters.least:,} to {characters.most:,}",
        ),
        ("words", f"{words.median:,} in the median, 99% up to {words.p99:,}"),
        ("empty texts", f"{found.empties:,}"),
        ("repeated texts", f"{found.duplicates:,}"),
        ("conflicts", f"{found.conflicts:,} rows whose text also has another label"),
    ]
    if found.customers is not None:
        rows.append(("customers", f"{found.customers:,}"))
    for name, value in rows:
        table.add_row(Text(name, "dim"), Text(value))
    return table


def _bars(counts: dict[str, int], shown: int) -> Table:
    """Return a bar for each of the most frequent values, and one line for the rest."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    total, most = sum(counts.values()), max(counts.values())
    table = Table(box=None, padding=(0, 2), show_header=False)
    table.add_column(max_width=36, no_wrap=True, overflow="ellipsis")
    table.add_column(justify="right")
    table.add_column(justify="right", style="dim")
    table.add_column()
    for name, rows in ranked[:shown]:
        table.add_row(Text(name), f"{rows:,}", f"{rows / total:.1%}", Bar(most, 0, rows, width=BAR_WIDTH, color="green"))
    if rest := ranked[shown:]:
        table.add_row(
            Text(f"... and {len(rest)} more", "dim"),
            f"{sum(rows for _, rows in rest):,}",
            f"{sum(rows for _, rows in rest) / total:.1%}",
            "",
        )
    return table


def _plain(value: Any) -> str:
    """Return a setting as params.yaml has it, in a word or a line."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "[]"
    return "null" if value is None else str(value)
