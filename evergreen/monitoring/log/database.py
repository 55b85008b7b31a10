"""The connection to the request log's database, and what its errors mean.

Knows nothing of tables. Time limits everywhere: a database that hangs must not hang those who ask it.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError, StatementError

from evergreen.errors import LogError

CONNECT_SECONDS = 3
STATEMENT_SECONDS = 10
BUSY_SECONDS = 5
POOL_SECONDS = 3


def connect(url: str, *, statement_seconds: int = STATEMENT_SECONDS) -> Engine:
    """Return the engine of a URL; nothing is connected yet. Raise LogError for a URL that cannot work."""
    parsed = _parse(url)
    options: dict[str, Any] = {"hide_parameters": True, "pool_size": 4, "max_overflow": 4, "pool_timeout": POOL_SECONDS}
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed, connect_args={"timeout": BUSY_SECONDS}, **options)
        _make_private(Path(str(parsed.database)))
        event.listen(engine, "connect", _sqlite_settings)
        return engine
    # Prepared statements would tie a connection to one backend, which poolers in transaction mode do not grant.
    reach = {"connect_timeout": CONNECT_SECONDS, "prepare_threshold": None, "application_name": "evergreen"}
    network = {"keepalives_idle": 30, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": STATEMENT_SECONDS * 1000}
    given = {name for name in parsed.query if name in {*reach, *network}}
    arguments = {name: value for name, value in {**reach, **network}.items() if name not in given}
    engine = create_engine(parsed, connect_args=arguments, pool_pre_ping=True, pool_recycle=1800, **options)
    event.listen(engine, "connect", _postgresql_settings(statement_seconds))
    return engine


@contextmanager
def opened(url: str, *ready: Callable[[Engine], object], fault: str, statement_seconds: int = STATEMENT_SECONDS) -> Iterator[Engine]:
    """Connect, have each of `ready` make or check its tables, and let go of everything at the end.

    Errors of the database become a LogError that begins with `fault` and holds nothing of a row.
    """
    engine = connect(url, statement_seconds=statement_seconds)
    try:
        for one in ready:
            one(engine)
        yield engine
    except SQLAlchemyError as error:
        raise LogError(f"{fault}: {described(error)}") from None
    finally:
        engine.dispose()


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise LogError("serve.log.url of params.yaml is no database URL; write sqlite:///FILE or postgresql+psycopg://…") from None
    kind = parsed.get_backend_name()
    if kind == "sqlite" and parsed.database and parsed.database != ":memory:" and not parsed.database.startswith("file:"):
        return parsed.set(drivername="sqlite")
    if kind in {"postgresql", "postgres"}:
        if find_spec("psycopg") is None:
            raise LogError("a PostgreSQL request log needs psycopg: pip install -c constraints.txt .")
        return parsed.set(drivername="postgresql+psycopg")
    raise LogError(f"serve.log.url of params.yaml names {kind!r}; the request log can be sqlite:///FILE or postgresql+psycopg://…")


def _make_private(file: Path) -> None:
    """Make the database file readable by its owner alone before SQLite makes it otherwise; its companions take after it."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError:
        return  # whoever connects is told


def _sqlite_settings(connection: Any, _: object) -> None:
    # auto_vacuum works only while the file is empty, and switching to WAL writes to it.
    # secure_delete: what retention deletes is overwritten, not only unlisted.
    for setting in ("auto_vacuum=INCREMENTAL", "journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", f"journal_size_limit={2**26}"):
        end = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                connection.execute(f"PRAGMA {setting}").fetchall()
                break
            except sqlite3.OperationalError:  # locked: SQLite does not wait by itself while others switch to WAL, too
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)


def _postgresql_settings(statement_seconds: int) -> Callable[[Any, object], None]:
    def settings(connection: Any, _: object) -> None:
        before, connection.autocommit = connection.autocommit, True  # else a rollback would take them back
        connection.execute(f"SET statement_timeout = {statement_seconds * 1000}")
        connection.execute(f"SET idle_in_transaction_session_timeout = {60_000 if statement_seconds else 0}")
        connection.autocommit = before

    return settings


def check_file(engine: Engine) -> None:
    """Raise where SQLite's file was removed: open connections would go on writing to a file without a name."""
    file = Path(str(engine.url.database))
    if engine.dialect.name == "sqlite" and not file.exists():
        engine.dispose()
        _make_private(file)
        raise LogError(f"the request log's file {file} was removed; a new one is begun")


def ping(engine: Engine) -> None:
    """Raise where the database does not answer."""
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))


def blames_the_row(fault: Exception) -> bool:
    """Return whether an error is about what a row holds, so that trying it again cannot help; else the database is away.

    PostgreSQL: classes 21, 22, 23 (cardinality, data, integrity) and 54 (a program's limit, such as an index entry's size).
    """
    if isinstance(fault, DBAPIError):
        state = getattr(fault.orig, "sqlstate", None)
        if state is not None:
            return state[:2] in {"21", "22", "23", "54"}
        of_content = type(fault.orig).__name__ in {"IntegrityError", "DataError"} or str(fault.orig).startswith("Error binding")
        return of_content and not fault.connection_invalidated
    return isinstance(fault, StatementError | TypeError | ValueError | OverflowError | AttributeError)


def described(fault: Exception) -> str:
    """Return what went wrong in a few words that hold nothing of a row.

    Only connection and operational trouble is quoted, by its first line: the errors about values quote the values.
    """
    if blames_the_row(fault):
        return f"a row was refused ({type(getattr(fault, 'orig', None) or fault).__name__})"
    if isinstance(fault, LogError):
        return str(fault)
    inner = getattr(fault, "orig", None) or fault
    if isinstance(fault, DBAPIError | OSError):
        lines = str(inner).strip().splitlines()
        return f"{type(inner).__name__}: {lines[0][:200]}" if lines else type(inner).__name__
    return type(inner).__name__
