"""The loop's tables, in the database of the request log: alerts and retrainings; SQLite or PostgreSQL, the same code.

    prepare(engine)              makes what is missing; safe while others do the same
    alone(engine, work) -> T     one transaction that no other of the loop runs beside; waits for its turn
    clock(connection) -> float   the database's own time, which all clients share

Knows nothing of what the rows mean: alerts.py, slot.py.
"""

import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import JSON, Column, Connection, Double, Engine, Index, Integer, MetaData, Table, Text, func, select, text
from sqlalchemy.exc import OperationalError

from evergreen.monitoring.log import tables

NAME, SCHEMA = "loop", 1
LOCK = 0x65766C70  # any number that others hardly take: PostgreSQL's advisory lock of the loop
TURN_SECONDS = 60  # that a transaction waits for its turn, at most

T = TypeVar("T")
metadata = MetaData()

alerts = Table(
    "alerts",
    metadata,
    Column("id", Text, primary_key=True),  # made of what the alert is about, so that a doubled one is the same row
    Column("source", Text, nullable=False),  # monitor, schedule, person, http, event
    Column("trigger", Text, nullable=False),
    Column("model_version", Text),  # of the model it is about; null: whichever is live
    Column("reference", Text),
    Column("window", Text),
    Column("time", Double, nullable=False),  # when what it tells of happened; never later than `raised`
    Column("raised", Double, nullable=False),  # when it came here
    Column("because", Text, nullable=False),
    Column("facts", JSON, nullable=False),
    Column("told", Integer, nullable=False),  # how often it came: 1, and 1 for each double
    Column("state", Text, nullable=False),  # open, taken, done, stale, given up, closed
    Column("retraining", Text),  # that took it last
    Column("tries", Integer, nullable=False),  # retrainings for it that crashed or failed
    Column("not_before", Double, nullable=False),  # from when on it may be claimed
    Column("emitted", Double),  # when it was last sent on its way
    Column("emissions", Integer, nullable=False),  # how often, since it is open
    Column("closed", Double),  # when; of one that a person closed, when it was last told after that
    Column("news", Text),  # what people have not been told of it yet: wanted, given up
    Column("closing", Text),  # who has closed it, and why
    Index("alerts_state", "state", "time"),
)

retrainings = Table(
    "retrainings",
    metadata,
    Column("id", Text, primary_key=True),
    Column("slot", Integer, unique=True),  # 1 while it runs, then null: the database itself lets one run alone
    Column("alert", Text, nullable=False),  # that it was claimed for; others may have been taken with it
    Column("trigger", Text, nullable=False),
    Column("champion", Text),  # model version that was live when it began
    Column("holder", Text, nullable=False),  # who runs it
    Column("state", Text, nullable=False),  # running, finished, failed, crashed, stopped
    Column("started", Double, nullable=False),
    Column("heartbeat", Double, nullable=False),
    Column("lease_until", Double, nullable=False),  # without a renewal by then it counts as crashed
    Column("cooled", Double, nullable=False),  # until when its cooldown lasts
    Column("ended", Double),
    Column("result", JSON, nullable=False),
    Column("news", Text),  # what people have not been told of it yet: crashed
    Index("retrainings_started", "started"),
)


def prepare(engine: Engine) -> None:
    """Make the tables where they are missing; safe while others do the same. Raise LogError for those of a newer version."""
    tables.prepare(engine, metadata, name=NAME, version=SCHEMA)


def alone(engine: Engine, work: Callable[[Connection], T], *, seconds: float = TURN_SECONDS) -> T:
    """Do work in one transaction, with no other of the loop beside it; a database that is busy is asked again for so many seconds.

    The work may be done twice where the first try did not reach the disk, so it must not keep anything outside the database.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            with engine.begin() as connection:
                if engine.dialect.name == "postgresql":
                    connection.execute(select(func.pg_advisory_xact_lock(LOCK)))
                else:
                    connection.execute(text("BEGIN IMMEDIATE"))
                return work(connection)
        except OperationalError as fault:
            if not _busy(fault) or time.monotonic() > end:
                raise
        time.sleep(random.uniform(0.01, 0.1))


def _busy(fault: OperationalError) -> bool:
    """Return whether others were in the way: SQLite is locked, or PostgreSQL's statement waited its time out."""
    return getattr(fault.orig, "sqlstate", None) == "57014" or "locked" in str(fault.orig)


def clock(connection: Connection) -> float:
    """Return the database's time, in seconds since 1970; SQLite is always on this machine, and so has its clock."""
    if connection.dialect.name != "postgresql":
        return time.time()
    now: Any = connection.execute(select(func.extract("epoch", func.clock_timestamp()))).scalar_one()
    return float(now)
