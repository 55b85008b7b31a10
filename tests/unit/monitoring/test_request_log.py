"""The tables are made once by whoever comes first, and a row goes in once whoever brings it."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, inspect, select, text

from evergreen.errors import LogError
from evergreen.monitoring.log import database, tables
from evergreen.monitoring.log.database import blames_the_row, described
from evergreen.monitoring.log.request_log import answers, check, feedback, insert, prepare
from tests.log_factories import PATIENCE, answered, filled, labelled, sqlite
from tests.postgresql import Server

TOGETHER = 6


def all_at_once(*works: Callable[[], object]) -> list[Exception]:
    """Do these at the same time; return what they raised."""
    gate, raised = threading.Barrier(len(works)), []

    def work(one: Callable[[], object]) -> None:
        gate.wait(PATIENCE)
        try:
            one()
        except Exception as fault:
            raised.append(fault)

    threads = [threading.Thread(target=work, args=(one,)) for one in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    return raised


def test_tables_are_made_by_many_at_once(url: str) -> None:
    engines = [database.connect(url) for _ in range(TOGETHER)]
    assert all_at_once(*(lambda engine=engine: prepare(engine) for engine in engines)) == []
    assert {*inspect(engines[0]).get_table_names()} == {"answers", "feedback", "evergreen_schema"}
    for engine in engines:
        engine.dispose()


def test_rows_that_many_bring_at_once_go_in_once(url: str) -> None:
    rows = [answered(f"{number}") for number in range(200)]
    rows += [labelled(row.request_id) for row in rows]
    with filled(url, []) as engine:
        others = [database.connect(url) for _ in range(TOGETHER)]
        assert all_at_once(*(lambda other=other: insert(other, rows) for other in others)) == []
        with engine.connect() as connection:
            counts = [connection.execute(select(func.count()).select_from(table)).scalar_one() for table in (answers, feedback)]
        for other in others:
            other.dispose()
    assert counts == [200, 200]


def test_a_database_without_tables_is_told_from_one_of_a_newer_version(url: str) -> None:
    engine = database.connect(url)
    with pytest.raises(LogError, match="no request log yet"):
        check(engine)
    prepare(engine)
    check(engine)
    with engine.begin() as connection:
        connection.execute(tables.schema.update().values(version=2))
    for look in (check, prepare):
        with pytest.raises(LogError, match="newer Evergreen"):
            look(engine)
    engine.dispose()


def test_a_file_of_sqlite_and_its_companions_are_private(tmp_path: Path) -> None:
    with filled(sqlite(tmp_path), [answered()]):
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("traffic.sqlite*")}
    assert modes == {"traffic.sqlite": 0o600, "traffic.sqlite-wal": 0o600, "traffic.sqlite-shm": 0o600}


def test_sqlite_is_durable_and_gives_room_back(tmp_path: Path) -> None:
    wanted = {"journal_mode": "wal", "synchronous": 2, "auto_vacuum": 2}  # FULL, INCREMENTAL
    with filled(sqlite(tmp_path), []) as engine, engine.connect() as connection:
        assert {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in wanted} == wanted


def test_an_error_about_a_row_says_nothing_of_the_row(url: str) -> None:
    with filled(url, []) as engine, pytest.raises(Exception) as caught:
        insert(engine, [answered("planted words", needs_person="planted words")])
    assert blames_the_row(caught.value)
    assert "planted" not in described(caught.value)


def test_an_error_about_a_row_by_postgresql_itself_says_nothing_of_the_row(postgresql: Server) -> None:
    with filled(postgresql.fresh(), []) as engine, pytest.raises(Exception) as caught:
        insert(engine, [answered("planted words", confidence="planted words")])
    assert blames_the_row(caught.value)
    assert "planted" not in described(caught.value)


def test_who_may_only_read_and_write_rows_can_use_tables_that_others_made(postgresql: Server) -> None:
    with filled(postgresql.fresh(), []) as owner:
        with owner.begin() as connection:
            connection.execute(text("CREATE ROLE clerk LOGIN"))
            connection.execute(text("GRANT SELECT, INSERT, DELETE ON answers, feedback, evergreen_schema TO clerk"))
        clerk = database.connect(str(owner.url).replace("tester@", "clerk@"))
        prepare(clerk)
        insert(clerk, [answered()])
        clerk.dispose()


def test_a_database_that_cannot_hold_every_character_is_refused_in_words(postgresql: Server) -> None:
    admin = database.connect(postgresql.url())
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CREATE DATABASE narrow ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"))
    admin.dispose()
    narrow = database.connect(postgresql.url("narrow"))
    with pytest.raises(LogError, match="encoded in LATIN1"):
        prepare(narrow)
    narrow.dispose()


def test_a_database_that_is_away_is_not_blamed_on_the_row(url: str) -> None:
    engine = database.connect(url)
    with pytest.raises(Exception) as caught:
        insert(engine, [answered()])  # there are no tables
    assert not blames_the_row(caught.value)
    assert "answers" in described(caught.value)
    engine.dispose()
