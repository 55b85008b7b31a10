"""What `evergreen train` shows on a terminal: one short section per stage, drawn from the log of the flow run."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.logging.configuration import setup_logging
from rich.console import Console
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

PREFECT_ENDING = "Finished in state"
TO_LINE_START = Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2))


class StagePrinter(logging.Handler):
    """Prints the log of task runs: the stage's name and time, its own lines below it."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self.console = console
        self.stage: str | None = None
        self.start = 0.0
        self.passed = False

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line of a task run."""
        stage = getattr(record, "task_run_name", None)
        message = record.getMessage()
        if stage is None or record.levelno > logging.INFO:
            return  # failures are told once, by whoever started the flow
        if message.startswith(PREFECT_ENDING):
            self._end()
            return
        self._begin(stage)
        if self.passed:
            self.console.control(TO_LINE_START)
        self.passed = self.console.is_terminal and message.endswith(" left")  # progress: the next line takes its place
        line = Text(message, style="dim" if self.passed or message.startswith("  cached:") else "")
        if self.passed:
            line.truncate(self.console.width - 1, overflow="ellipsis")
        self.console.print(line, soft_wrap=True, highlight=False, end="" if self.passed else "\n")

    def _begin(self, stage: str) -> None:
        if stage != self.stage:
            self.stage, self.start = stage, time.monotonic()
            self.console.print(Text(stage, style="bold green"))

    def _end(self) -> None:
        if self.stage is not None:
            self.console.print(Text(f"{time.monotonic() - self.start:.1f} s".rjust(10), style="dim"))
            self.stage = None


@contextmanager
def stages_shown(console: Console) -> Iterator[None]:
    """Show the stages of the flow that runs inside, instead of Prefect's own lines; its log in the run stays whole.

    Prefect stays silent on the terminal afterwards, too: its server takes leave when the process ends.
    """
    setup_logging()
    logging.getLogger("prefect").propagate = False
    runs, printer = logging.getLogger("prefect.task_runs"), StagePrinter(console)
    runs.addHandler(printer)
    try:
        yield
    finally:
        runs.removeHandler(printer)
