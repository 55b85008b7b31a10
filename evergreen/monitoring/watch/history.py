"""What the monitor has seen and decided: the tables `windows` and `decisions`, beside the request log in its database.

A window is recorded once: its id says which rows it looked at, and no two windows of a version overlap or share a number. A decision
names the newest window that it was made on; the first on a window has the window's id, later ones, made while the next window fills,
have ids of their own. Decisions stay, "no" as "yes"; windows go by age where no decision to come needs them.
Knows nothing of how facts are computed or decisions made; errors are the driver's (`database.described`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Double,
    Engine,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    and_,
    delete,
    func,
    select,
)
from sqlalchemy.engine import Row
from sqlalchemy.exc import IntegrityError

from evergreen.errors import MonitorError
from evergreen.monitoring.log import tables

NAME, SCHEMA = "monitor's history", 1
Facts = Mapping[str, Any]

metadata = MetaData()

windows = Table(
    "windows",
    metadata,
    Column("id", Text, primary_key=True),
    Column("model_version", Text, nullable=False),
    Column("reference", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("since", Double, nullable=False),
    Column("until", Double, nullable=False),
    Column("time", Double, nullable=False),  # when it was judged
    Column("facts", JSON, nullable=False),
    UniqueConstraint("model_version", "reference", "number", name="windows_number"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("window", Text),  # the newest that it was made on; null: there was none yet
    Column("model_version", Text, nullable=False),
    Column("time", Double, nullable=False),
    Column("action", Text, nullable=False),
    Column("trigger", Text),
    Column("because", Text, nullable=False),
    Column("content", JSON, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Judged:
    """Where the windows of a version ended so far: the end of the last one and how many there were."""

    until: float
    number: int


@dataclass(frozen=True, slots=True)
class Recorded:
    """A decision as it stands on record; `content` is all of it, as the policy told it."""

    id: str
    window: str | None
    model_version: str
    time: float
    action: str
    trigger: str | None
    because: str
    content: dict[str, Any]


def window_id(*, model_version: str, reference: str, since: float, until: float) -> str:
    """Return the id of a window: 16 hexadecimal digits that name its rows and what they are compared with."""
    return sha256(f"{model_version} {reference} {since!r} {until!r}".encode()).hexdigest()[:16]


def prepare(engine: Engine) -> None:
    """Make the tables where they are missing; safe while others do the same. Raise LogError for those of a newer version."""
    tables.prepare(engine, metadata, name=NAME, version=SCHEMA)


def judged(engine: Engine, *, model_version: str, reference: str) -> Judged | None:
    """Return where a version's windows against a reference ended so far, or None before the first."""
    query = select(func.max(windows.c.until), func.max(windows.c.number)).where(_of(model_version, reference))
    with engine.connect() as connection:
        until, number = connection.execute(query).one()
    return None if number is None else Judged(until, number)


def find(engine: Engine, id: str) -> dict[str, Any] | None:
    """Return the facts of a window by its id, or None where it has not been judged."""
    with engine.connect() as connection:
        return connection.execute(select(windows.c.facts).where(windows.c.id == id)).scalar()


def overlapping(engine: Engine, *, model_version: str, reference: str, since: float, until: float) -> dict[str, Any] | None:
    """Return the facts of a recorded window that shares some of this time with it, or None."""
    shared = and_(_of(model_version, reference), windows.c.since < until, windows.c.until > since)
    with engine.connect() as connection:
        return connection.execute(select(windows.c.facts).where(shared).order_by(windows.c.number).limit(1)).scalar()


def record(engine: Engine, facts: Facts, *, now: float) -> dict[str, Any]:
    """Record a window and return its facts as they stand on record: where another was quicker with the same window, those.

    Raises MonitorError where another window took its number: then this one was judged at a level that is no longer its own.
    """
    row = {name: facts[name] for name in ("id", "model_version", "reference", "number", "since", "until")}
    try:
        with engine.begin() as connection:
            connection.execute(windows.insert(), {**row, "time": now, "facts": dict(facts)})
    except IntegrityError:
        known = find(engine, facts["id"])
        if known is None:
            raise MonitorError(
                f"window {facts['number']} of model {facts['model_version']} was judged by another monitor meanwhile; look again"
            ) from None
        return known
    return dict(facts)


def record_decision(engine: Engine, decision: Recorded) -> Recorded:
    """Record a decision and return it as it stands on record: a window is decided on once, the first decision stays."""
    with engine.begin() as connection:
        connection.execute(tables.unless_there(engine, decisions), asdict(decision))
        return _recorded(connection.execute(select(decisions).where(decisions.c.id == decision.id)).one())


def undecided(engine: Engine) -> list[dict[str, Any]]:
    """Return the facts of windows without a decision, oldest first: whoever judged them was killed before deciding."""
    missing = ~select(decisions.c.id).where(decisions.c.window == windows.c.id).exists()
    with engine.connect() as connection:
        return list(connection.execute(select(windows.c.facts).where(missing).order_by(windows.c.time)).scalars())


def wanting(engine: Engine, *, since: float) -> list[Recorded]:
    """Return the decisions to retrain since then, oldest first."""
    query = select(decisions).where(decisions.c.action == "retrain", decisions.c.time >= since).order_by(decisions.c.time)
    with engine.connect() as connection:
        return [_recorded(row) for row in connection.execute(query)]


def read(
    engine: Engine, *, model_version: str | None = None, reference: str | None = None, last: int | None = None
) -> list[dict[str, Any]]:
    """Return the facts of windows, oldest first: of one version or of all, at most the `last` ones."""
    query = select(windows.c.facts).order_by(windows.c.time.desc(), windows.c.number.desc())
    if model_version is not None:
        query = query.where(windows.c.model_version == model_version)
    if reference is not None:
        query = query.where(windows.c.reference == reference)
    with engine.connect() as connection:
        found = connection.execute(query if last is None else query.limit(last)).scalars().all()
    return list(reversed(found))


def read_decisions(engine: Engine, *, last: int | None = None) -> list[Recorded]:
    """Return decisions, oldest first, at most the `last` ones."""
    query = select(decisions).order_by(decisions.c.time.desc(), decisions.c.id)
    with engine.connect() as connection:
        return [_recorded(row) for row in reversed(_rows(connection, query if last is None else query.limit(last)))]


def forget(engine: Engine, *, before: float, live: str, keep: int) -> None:
    """Delete windows judged before a time, but the newest `keep` of the live version, and the last of every other.

    The last one says where the next begins, and which number it has. Decisions stay: each tells its figures itself, and is answered for
    when its window has long gone.
    """
    newest = select(windows.c.id).where(windows.c.model_version == live).order_by(windows.c.time.desc()).limit(keep)
    others = windows.alias()
    same = and_(others.c.model_version == windows.c.model_version, others.c.reference == windows.c.reference)
    later = select(others.c.id).where(same, others.c.number > windows.c.number).exists()
    with engine.begin() as connection:
        needed = connection.execute(newest).scalars().all()
        connection.execute(delete(windows).where(windows.c.time < before, windows.c.id.not_in(needed), later))


def _rows(connection: Connection, query: Any) -> Sequence[Row[Any]]:
    return connection.execute(query).all()


def _recorded(row: Row[Any]) -> Recorded:
    return Recorded(**row._mapping)


def _of(model_version: str, reference: str) -> Any:
    return and_(windows.c.model_version == model_version, windows.c.reference == reference)
