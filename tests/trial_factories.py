"""Tiny trials: answers of two versions, as rows of a comparison and as a request log."""

from pathlib import Path

from evergreen.monitoring.log.database import connect
from evergreen.monitoring.log.records import Answered, Labelled, Role, new_id
from evergreen.monitoring.log.request_log import insert, prepare
from evergreen.monitoring.trials.trial import Row, Trial
from tests.log_factories import sqlite

START = 1_790_000_000.0


def trial(mode: str = "shadow") -> Trial:
    return Trial(mode, "old", "new", START, START + 1000)


def row(prediction: str = "card", label: str | None = None, *, key_id: str = "k", latency_ms: float = 5.0, confidence: float = 0.8) -> Row:
    return Row(prediction, confidence, confidence < 0.5, latency_ms, key_id, label)


def answer(
    role: Role, version: str, prediction: str = "card", *, place: int = 0, request_id: str | None = None, key_id: str = "k"
) -> Answered:
    return Answered(
        request_id=request_id or new_id(START + place),
        role=role,
        time=START + place,
        key_id=key_id,
        model_version=version,
        text="my card is gone",
        prediction=prediction,
        probabilities={"card": 0.8, "loan": 0.2},
        confidence=0.8,
        needs_person=False,
        latency_ms=5.0 + place % 3,
    )


def label(request_id: str, told: str, *, later: float = 60.0) -> Labelled:
    return Labelled(feedback_id=new_id(), request_id=request_id, label=told, time=START + later, key_id="k")


def shadow_rows(place: int, old: str, new: str | None, told: str | None = None) -> list[Answered | Labelled]:
    """Return the rows of one request in shadow; `new` None: the challenger was too busy."""
    first = answer("champion", "old", old, place=place)
    rows: list[Answered | Labelled] = [first]
    rows += [answer("shadow", "new", new, place=place, request_id=first.request_id)] if new else []
    return rows + ([label(first.request_id, told)] if told else [])


def log_of(folder: Path, rows: list[Answered | Labelled], url: str | None = None) -> str:
    """Make a request log of these rows, on SQLite where no URL is given, and return its URL."""
    url = url or sqlite(folder)
    engine = connect(url)
    prepare(engine)
    insert(engine, rows)
    engine.dispose()
    return url
