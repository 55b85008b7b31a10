"""What the commands that read the request log have in common: points in time, and where the log is."""

import argparse
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from evergreen.errors import LogError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from evergreen.sections.loop import TrafficLog

UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def moment(word: str, now: datetime | None = None) -> float:
    """Return a point in time in seconds since 1970: a date, a date and time (local unless it says so), or how long ago."""
    now = now or datetime.now(UTC)
    ago = re.fullmatch(r"(\d{1,6})([mhdw])", word)
    if ago:
        return now.timestamp() - int(ago[1]) * UNITS[ago[2]]
    try:
        return datetime.fromisoformat(word).timestamp()
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{word!r} is no time; write 2026-11-01, 2026-11-01T08:00, or how long ago: 12h, 7d") from None


def settings(root: Path = Path()) -> "TrafficLog | None":
    """Return the section serve.log of a project's params.yaml, or None where there is no such file."""
    from evergreen.config import load_params

    path = root / "params.yaml"
    return load_params(path).serve.log if path.exists() else None


def log_url(root: Path = Path()) -> str:
    """Return the URL of a project's request log."""
    from evergreen.home import traffic_url

    found = settings(root)
    return traffic_url(found.url if found else None)


@contextmanager
def opened(url: str) -> "Iterator[Engine]":
    """Open a request log that is there; its errors become LogErrors that hold nothing of a row."""
    from evergreen.monitoring.log import database, request_log

    _refuse_missing(url)
    with database.opened(url, request_log.check, fault="the request log cannot be read", statement_seconds=0) as engine:
        yield engine


def _refuse_missing(url: str) -> None:
    """Refuse an SQLite file that is not there: connecting would make an empty one."""
    file = url.partition("sqlite:///")[2].partition("?")[0]
    if file and not Path(file).exists():
        raise LogError(f"there is no request log at {file}: nothing has been answered yet, or --log names another")
