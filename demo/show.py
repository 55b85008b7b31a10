"""What the demo shows on a terminal: chapters, a bar while something takes long, and one line for each window of traffic."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

PLAIN_WIDTH = 110


class Screen:
    """The terminal of the demo, and the time that each chapter took."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
        self.begun = time.monotonic()
        self.number = 0
        self.seconds: dict[str, float] = {}

    @contextmanager
    def chapter(self, title: str) -> Iterator[None]:
        """Head a part of the story, and say at its end how long it took."""
        self.number += 1
        start = time.monotonic()
        self.console.print()
        self.console.print(Rule(Text(f"{self.number}  {title}", style="bold green"), align="left", style="dim"))
        yield
        self.seconds[title] = time.monotonic() - start
        self.console.print(Text(f"{self.seconds[title]:.0f} s".rjust(8), style="dim"))

    def say(self, words: str, style: str = "", indent: int = 2) -> None:
        """Print a line of the story."""
        self.console.print(Padding(Text(words, style=style), (0, 0, 0, indent)))

    @contextmanager
    def waiting(self, words: str) -> Iterator[Any]:
        """Show a spinner, and what a run says while it goes on: the block gets a function of (step, line)."""
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as progress:
            task = progress.add_task(words)

            def show(step: str, line: str) -> None:
                told = f"{words} · [bold]{step}[/] [dim]{line[:90]}[/]" if step else f"{words} [dim]{line[:100]}[/]"
                progress.update(task, description=told)

            yield show

    @contextmanager
    def counting(self, words: str, total: int) -> Iterator[Any]:
        """Show a bar with an ETA; the block gets a function that counts one."""
        columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as progress:
            task = progress.add_task(words, total=total)
            yield lambda: progress.advance(task)

    def table(self, *columns: tuple[str, str]) -> Table:
        """Return an empty table in the demo's look; `columns` are (title, side)."""
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
        for title, side in columns:
            table.add_column(title, justify=side, header_style="dim", no_wrap=True)  # type: ignore[arg-type]
        return table
