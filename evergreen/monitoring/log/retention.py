"""How long the request log keeps: rows go by age, and beyond a size the oldest go first, with the labels told for them.

Works in bounded steps, so that whoever calls it can do other things in between. Knows nothing of who calls it and when.
"""

import math
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, Select, delete, func, select, text
from sqlalchemy.exc import OperationalError

from evergreen.monitoring.log.request_log import answers, feedback

STEP = 1000  # requests deleted in one transaction
STEPS = 10  # transactions of one call
PAGES = 2000  # of SQLite, given back to the disk in one call
ROOM = 0.95  # of the bound is what is left when the oldest rows went for their size
SAMPLE = 1000  # rows whose size is looked at in PostgreSQL
INDEX_BYTES = 400  # of a row's index entries and header, about


@dataclass(frozen=True, slots=True)
class Limits:
    """How old rows may grow, and how large all of them together."""

    seconds: float
    bytes: int


def retire(engine: Engine, limits: Limits, *, now: float) -> bool:
    """Delete what is too old or too much, up to STEPS transactions; return whether nothing is left to do."""
    horizon = now - limits.seconds
    steps = STEPS
    while steps and _delete(engine, _oldest(before=horizon)):
        steps -= 1
    with engine.begin() as connection:
        connection.execute(delete(feedback).where(feedback.c.time < horizon))
    rows, size = rows_and_bytes(engine)
    excess = math.ceil(rows * (1 - ROOM * limits.bytes / size)) if size > limits.bytes else 0
    while steps and excess > 0:
        gone = _delete(engine, _oldest().limit(min(STEP, excess)))
        excess = excess - gone if gone else 0
        steps -= 1
    return _give_back(engine) and steps > 0


def _oldest(before: float | None = None) -> Select[tuple[str]]:
    query = select(answers.c.request_id).order_by(answers.c.time).limit(STEP)
    return query if before is None else query.where(answers.c.time < before)


def _delete(engine: Engine, query: Select[tuple[str]]) -> int:
    """Delete the requests that a query names, all roles of each, and their labels; return how many answers went."""
    with engine.begin() as connection:
        requests = connection.execute(query).scalars().all()
        if not requests:
            return 0
        connection.execute(delete(feedback).where(feedback.c.request_id.in_(requests)))
        return connection.execute(delete(answers).where(answers.c.request_id.in_(requests))).rowcount


def rows_and_bytes(engine: Engine) -> tuple[int, int]:
    """Return how many answers there are and how many bytes the log takes.

    SQLite: the pages in use, those of other tables in the same file left out. PostgreSQL keeps the room of deleted rows, so its
    files say nothing of what is left: the smaller of their size and of rows times the size of recent ones, index entries
    included (an estimate).
    """
    with engine.connect() as connection:
        rows = connection.execute(select(func.count()).select_from(answers)).scalar_one()
        if engine.dialect.name == "sqlite":
            pages, free, size = (
                connection.execute(text(f"PRAGMA {name}")).scalar_one() for name in ("page_count", "freelist_count", "page_size")
            )
            return rows, _of_the_log(connection, rows, (pages - free) * size)
        files = "SELECT sum(pg_total_relation_size(to_regclass(name))) FROM (VALUES ('answers'), ('feedback')) AS tables (name)"
        newest = f"(SELECT * FROM answers ORDER BY time DESC LIMIT {SAMPLE}) AS sample"
        mean = connection.execute(text(f"SELECT coalesce(avg(pg_column_size(sample.*)), 0) FROM {newest}")).scalar_one()
        return rows, min(int(connection.execute(text(files)).scalar_one()), int(rows * (float(mean) + INDEX_BYTES)))


def _of_the_log(connection: Connection, rows: int, used: int) -> int:
    """Return how much of SQLite's file is the log's own: alerts, windows and decisions lie there too, and no answer makes room for them."""
    others = text("SELECT name FROM sqlite_master WHERE rootpage > 0 AND tbl_name NOT IN ('answers', 'feedback')")
    names = connection.execute(others).scalars().all()
    try:  # a tree at a time: only its own pages are looked at
        one = text("SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE name = :name AND aggregate = TRUE")
        return used - sum(int(connection.execute(one, {"name": name}).scalar_one()) for name in names)
    except OperationalError:  # an SQLite that was built without dbstat
        size = " + ".join(f"length(CAST({column.name} AS BLOB))" for column in answers.columns)
        newest = f"(SELECT {size} AS size FROM answers ORDER BY time DESC LIMIT {SAMPLE})"
        mean = connection.execute(text(f"SELECT coalesce(avg(size), 0) FROM {newest}")).scalar_one()
        return min(used, int(rows * (float(mean) + INDEX_BYTES)))


def _give_back(engine: Engine) -> bool:
    """Give free pages back to the disk where SQLite keeps them (PostgreSQL reuses the room by itself); return whether all are."""
    if engine.dialect.name != "sqlite":
        return True
    with engine.begin() as connection:
        before = connection.execute(text("PRAGMA freelist_count")).scalar_one()
        # By the driver's own cursor: each page is a step of the statement, although it returns no rows.
        connection.connection.cursor().execute(f"PRAGMA incremental_vacuum({PAGES})").fetchall()
        after = connection.execute(text("PRAGMA freelist_count")).scalar_one()
    return bool(after == 0 or after == before)  # the same as before: a file that somebody made without incremental vacuum
