"""What the commands print on, and how they write a moment."""

import sys
from datetime import datetime

from rich.console import Console

PLAIN_WIDTH = 110


def screen(width: int = PLAIN_WIDTH) -> Console:
    """Return the terminal; where the output is none (a file, a log), lines of so many columns."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else width)


def when(seconds: float) -> str:
    """Return a moment (seconds since 1970) in local time, to the minute."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")
