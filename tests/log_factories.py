"""Rows of the request log, recorders, and patience, for tests."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from evergreen.monitoring.log import database, request_log
from evergreen.monitoring.log.recorder import Recorder
from evergreen.monitoring.log.records import Answered, Labelled, new_id

PATIENCE = 60  # seconds that a busy machine may take for what takes well under one


def answered(text: str = "where is my card", **changes: Any) -> Answered:
    """An answer given now."""
    given = {
        "request_id": new_id(),
        "role": "champion",
        "time": time.time(),
        "key_id": "0f0f",
        "model_version": "56dfc9c329af",
        "text": text,
        "prediction": "card",
        "probabilities": {"card": 0.9, "access": 0.1},
        "confidence": 0.9,
        "needs_person": False,
        "latency_ms": 3.5,
        "groups": {"age_band": "18-25"},
    }
    return Answered(**{**given, **changes})


def labelled(request_id: str, label: str = "card", **changes: Any) -> Labelled:
    """A label told now."""
    given = {"feedback_id": new_id(), "request_id": request_id, "label": label, "time": time.time(), "key_id": "0f0f"}
    return Labelled(**{**given, **changes})


def recorder(folder: Path, url: str | None = None, **changes: Any) -> Recorder:
    """A recorder that is not started, on SQLite in the folder where no URL is given."""
    given = {"keep_days": 400, "keep_megabytes": 2000, "spool_megabytes": 64}
    return Recorder(url or sqlite(folder), folder / "spool", **{**given, **changes})


@contextmanager
def filled(url: str, rows: Sequence[Answered | Labelled]) -> Iterator[Engine]:
    """A request log that holds these rows."""
    engine = database.connect(url)
    request_log.prepare(engine)
    request_log.insert(engine, rows)
    try:
        yield engine
    finally:
        engine.dispose()


def sqlite(folder: Path) -> str:
    return f"sqlite:///{folder / 'traffic.sqlite'}"


def wait_until(holds: Callable[[], Any], what: str) -> None:
    """Wait until something holds; say what did not after PATIENCE."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"not within {PATIENCE} s: {what}"
        time.sleep(0.02)
