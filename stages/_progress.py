"""Progress with an ETA: a bar on a terminal, a line every few seconds anywhere else (a log, a flow run)."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from stages._run import say

SECONDS_BETWEEN_LINES = 10.0
Step = Callable[[int, int, str], None]


@contextmanager
def progress(title: str) -> Iterator[Step]:
    """Give a function to call as `step(done, total, note)`."""
    if not sys.stdout.isatty():
        yield _Lines(title)
        return
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"),
               TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task(title, total=None, note="")
        yield lambda done, total, note: bar.update(task, completed=done, total=total, note=note)


class _Lines:
    def __init__(self, title: str) -> None:
        self.title = title
        self.start = self.last = time.monotonic()
        self.first: int | None = None

    def __call__(self, done: int, total: int, note: str) -> None:
        now = time.monotonic()
        if self.first is None:
            self.first = done - 1  # a resumed run starts above 0: its earlier steps say nothing about this one's pace
        if now - self.last < SECONDS_BETWEEN_LINES:
            return
        self.last = now
        left = (now - self.start) / (done - self.first) * (total - done)
        say(f"{self.title} {done:,}/{total:,} ({done / total:.0%}) · {note} · about {_clock(left)} left")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
