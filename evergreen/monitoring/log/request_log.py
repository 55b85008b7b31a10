"""The request log in its database: tables, connection, writing and reading; SQLite or PostgreSQL by the URL, the same code.

Knows nothing of journals, threads or Parquet. Errors are the driver's, whose words may quote a row: show them through
`database.described` alone.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import JSON, Boolean, Column, Connection, Double, Engine, Index, MetaData, Row, Select, Table, Text, select

from evergreen.monitoring.log import tables
from evergreen.monitoring.log.records import Answered, Labelled, Role

NAME, SCHEMA = "request log", 1
READ_ROWS = 1000

metadata = MetaData()

answers = Table(
    "answers",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("role", Text, primary_key=True),
    Column("time", Double, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("text_hash", Text, nullable=False),
    Column("prediction", Text, nullable=False),
    Column("probabilities", JSON, nullable=False),
    Column("confidence", Double, nullable=False),
    Column("needs_person", Boolean, nullable=False),
    Column("latency_ms", Double, nullable=False),
    Column("groups", JSON, nullable=False),
    Index("answers_time", "time"),
    Index("answers_version", "model_version", "time"),
    Index("answers_text", "text_hash"),
)

# Labels that came for a request, each kept for good: a correction is another row. No foreign key: a label may come first.
feedback = Table(
    "feedback",
    metadata,
    Column("feedback_id", Text, primary_key=True),
    Column("request_id", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("time", Double, nullable=False),
    Column("key_id", Text, nullable=False),
    Index("feedback_request", "request_id", "time"),
    Index("feedback_time", "time"),
)


@dataclass(frozen=True, slots=True)
class Window:
    """Which answers: from `since` (included) to `until` (excluded), seconds since 1970; None: without a bound."""

    since: float | None = None
    until: float | None = None
    version: str | None = None
    roles: tuple[Role, ...] = ("champion", "canary")  # what callers were told
    labelled: bool = False  # only those whose label is known


def prepare(engine: Engine) -> None:
    """Make the tables where they are missing; safe while others do the same. Raise LogError for those of a newer version."""
    tables.prepare(engine, metadata, name=NAME, version=SCHEMA)


def check(engine: Engine) -> None:
    """Raise LogError where there are no tables of ours, or those of a newer version; makes nothing."""
    tables.check(engine, name=NAME, version=SCHEMA)


def insert(engine: Engine, rows: Sequence[Answered | Labelled]) -> None:
    """Add rows in one transaction; those that are there already stay as they are."""
    answered = [_answer(row) for row in rows if isinstance(row, Answered)]
    labelled = [_label(row) for row in rows if isinstance(row, Labelled)]
    with engine.begin() as connection:
        if answered:
            connection.execute(tables.unless_there(engine, answers), answered)
        if labelled:
            connection.execute(tables.unless_there(engine, feedback), labelled)


def known(engine: Engine, request_id: str) -> bool:
    """Return whether there is an answer of this id."""
    with engine.connect() as connection:
        return connection.execute(select(answers.c.role).where(answers.c.request_id == request_id).limit(1)).first() is not None


def label_of(engine: Engine, request_id: str) -> str | None:
    """Return the label that was told last for a request, or None."""
    with engine.connect() as connection:
        query = select(feedback.c.label).where(feedback.c.request_id == request_id)
        return connection.execute(query.order_by(feedback.c.time.desc(), feedback.c.feedback_id.desc()).limit(1)).scalar()


def label_column() -> Any:
    """Return the current label of an answer as a column beside those of `answers`: the one told last, or null."""
    newest = select(feedback.c.label).where(feedback.c.request_id == answers.c.request_id)
    newest = newest.order_by(feedback.c.time.desc(), feedback.c.feedback_id.desc()).limit(1)
    return newest.correlate(answers).scalar_subquery().label("label")


def selected(window: Window, *columns: Any) -> Select[Any]:
    """Return the query of a window's answers, oldest first; all columns and the current `label` where none are named."""
    query = select(*(columns or (answers, label_column()))).where(answers.c.role.in_(window.roles))
    if window.since is not None:
        query = query.where(answers.c.time >= window.since)
    if window.until is not None:
        query = query.where(answers.c.time < window.until)
    if window.version is not None:
        query = query.where(answers.c.model_version == window.version)
    if window.labelled:
        query = query.where(select(feedback.c.feedback_id).where(feedback.c.request_id == answers.c.request_id).exists())
    return query


def read(connection: Connection, window: Window) -> Iterator[Row[Any]]:
    """Return a window's answers with their current label, oldest first, without holding all of them in memory."""
    streaming = connection.execution_options(stream_results=True, yield_per=READ_ROWS)
    query = selected(window).order_by(answers.c.time, answers.c.request_id, answers.c.role)
    yield from streaming.execute(query)


def _answer(row: Answered) -> dict[str, Any]:
    return {
        "request_id": storable(row.request_id),
        "role": storable(row.role),
        "time": row.time,
        "key_id": storable(row.key_id),
        "model_version": storable(row.model_version),
        "text": storable(row.text),
        "text_hash": row.text_hash,
        "prediction": storable(row.prediction),
        "probabilities": {storable(label): _number(value) for label, value in row.probabilities.items()},
        "confidence": row.confidence,
        "needs_person": row.needs_person,
        "latency_ms": row.latency_ms,
        "groups": {storable(name): storable(value) for name, value in row.groups.items()},
    }


def _label(row: Labelled) -> dict[str, Any]:
    told = {name: storable(getattr(row, name)) for name in ("feedback_id", "request_id", "label", "key_id")}
    return {**told, "time": row.time}


def storable(value: str) -> str:
    """Return a text that every database takes: NUL and halves of surrogate pairs become U+FFFD."""
    return value.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None  # JSON knows no other
