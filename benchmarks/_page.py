"""A benchmark's outcome: a table on the terminal, and the same as Markdown with the machine that it was measured on."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evergreen.run_record import processor

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Figures:
    """A table: columns numbered in `words` stand left, the others (figures) right; `heading` may be empty."""

    heading: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Sequence[int] = (0,)


def machine(threads: int | None = None, gpu: str | None = None) -> str:
    """Describe what was measured on; the load at the start tells a quiet machine (near 0) from a busy one."""
    parts = [
        processor(),
        f"{os.cpu_count()} cores",
        *([f"{threads} {'thread' if threads == 1 else 'threads'}"] if threads else []),
        *([gpu] if gpu else []),
        f"torch {version('torch')}",
        f"Python {platform.python_version()}",
        f"{platform.system()} {platform.machine()}",
        f"load {os.getloadavg()[0]:.1f} at the start",
        datetime.now(UTC).date().isoformat(),
    ]
    return " · ".join(parts)


def publish(name: str, *, title: str, command: str, on: str, tables: Sequence[Figures], notes: Sequence[str] = ()) -> Path:
    """Print the tables and write benchmarks/results/<name>.md; `command` is what measures them again, `on` is `machine()`."""
    console = Console()
    console.print()
    console.print(Text(title, style="bold"))
    console.print(Text(on, style="dim"), soft_wrap=True)
    for figures in tables:
        console.print()
        _print(figures, console)
    for note in notes:
        console.print()
        console.print(Text(note, style="dim"), soft_wrap=True)
    console.print()
    path = RESULTS / f"{name}.md"
    path.parent.mkdir(exist_ok=True)
    beside = path.with_name(f".{path.name}.partial")
    beside.write_text(_markdown(title, command, on, tables, notes), encoding="utf-8")
    beside.replace(path)
    return path


def _print(figures: Figures, console: Console) -> None:
    if figures.heading:
        console.print(Text(figures.heading, style="bold green"))
    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, column in enumerate(figures.columns):
        table.add_column(column, justify="left" if place in figures.words else "right", overflow="fold")
    for row in figures.rows:
        table.add_row(*row)
    console.print(table)


def _markdown(title: str, command: str, on: str, tables: Sequence[Figures], notes: Sequence[str]) -> str:
    lines = [f"# {title}", "", on, "", f"Measured by `{command}`."]
    for figures in tables:
        lines += ["", *([f"## {figures.heading}", ""] if figures.heading else [])]
        lines.append(_line(figures.columns))
        lines.append(_line([":--" if place in figures.words else "--:" for place in range(len(figures.columns))]))
        lines += [_line(row) for row in figures.rows]
    for note in notes:
        lines += ["", note]
    return "\n".join([*lines, ""])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
