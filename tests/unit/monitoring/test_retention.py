"""Old rows go, and beyond a size the oldest; labels go with their answers."""

from pathlib import Path

import pytest
from sqlalchemy import event, func, select, text

from evergreen.monitoring.log import retention
from evergreen.monitoring.log.request_log import answers, feedback
from evergreen.monitoring.log.retention import Limits, retire, rows_and_bytes
from tests.log_factories import answered, filled, labelled, sqlite

NOW, DAY, HUGE = 2e9, 86_400, 10**12


def texts(engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.execute(select(answers.c.text).order_by(answers.c.time, answers.c.role)).scalars())


def told(engine) -> list[str]:
    with engine.connect() as connection:
        return sorted(connection.execute(select(feedback.c.label)).scalars())


def finish(engine, limits: Limits) -> None:
    while not retire(engine, limits, now=NOW):
        pass


def test_rows_beyond_their_age_go_with_their_labels_and_younger_ones_stay(url: str) -> None:
    old, young = answered("old", time=NOW - 11 * DAY), answered("young", time=NOW - 9 * DAY)
    shadow = answered("old", time=NOW - 11 * DAY, role="shadow", request_id=old.request_id)
    labels = [labelled(old.request_id, "late label of an old one", time=NOW), labelled(young.request_id, "kept", time=NOW)]
    astray = labelled("e" * 32, "of nothing, and old", time=NOW - 11 * DAY)
    with filled(url, [old, shadow, young, *labels, astray]) as engine:
        assert retire(engine, Limits(seconds=10 * DAY, bytes=HUGE), now=NOW)
        assert texts(engine) == ["young"]
        assert told(engine) == ["kept"]


def test_beyond_the_size_the_oldest_go_until_the_rest_fits(url: str) -> None:
    rows = [answered(f"{number:04d}" + "x" * 500, time=NOW - 1000 + number) for number in range(600)]
    with filled(url, rows) as engine:
        before, size = rows_and_bytes(engine)
        finish(engine, Limits(seconds=10 * DAY, bytes=size // 2))
        left, smaller = rows_and_bytes(engine)
        assert before == 600
        assert 200 < left < 350
        assert smaller <= size // 2
        assert texts(engine) == [row.text for row in rows[-left:]]


@pytest.mark.parametrize("dbstat", [True, False])
def test_what_else_lies_in_the_same_database_costs_no_answer(url: str, dbstat: bool) -> None:
    with filled(url, [answered(f"{number:04d}" + "x" * 500, time=NOW - 1000 + number) for number in range(200)]) as engine:
        if not dbstat:
            event.listen(engine, "before_cursor_execute", _without_dbstat, retval=True)
        _, alone = rows_and_bytes(engine)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE alerts (facts TEXT)"))
            connection.execute(text("INSERT INTO alerts VALUES (:facts)"), [{"facts": "y" * 20_000} for _ in range(100)])
        _, beside = rows_and_bytes(engine)
        assert beside < alone + 20_000
        finish(engine, Limits(seconds=10 * DAY, bytes=2 * alone))
        assert len(texts(engine)) == 200


def _without_dbstat(connection, cursor, statement, parameters, context, many):
    return statement.replace("FROM dbstat", "FROM missing"), parameters


def test_nothing_goes_while_everything_fits(url: str) -> None:
    with filled(url, [answered("a", time=NOW - 5)]) as engine:
        assert retire(engine, Limits(seconds=DAY, bytes=HUGE), now=NOW)
        assert texts(engine) == ["a"]


def test_one_call_does_a_bounded_part_and_says_so(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "STEP", 3)
    monkeypatch.setattr(retention, "STEPS", 2)
    with filled(url, [answered(f"{number}", time=NOW - 2 * DAY + number) for number in range(10)]) as engine:
        assert not retire(engine, Limits(seconds=DAY, bytes=HUGE), now=NOW)
        assert texts(engine) == ["6", "7", "8", "9"]
        finish(engine, Limits(seconds=DAY, bytes=HUGE))
        assert texts(engine) == []


def test_the_file_of_sqlite_shrinks(tmp_path: Path) -> None:
    rows = [answered("x" * 2000, time=NOW - 2 * DAY) for _ in range(1000)]
    with filled(sqlite(tmp_path), rows) as engine:
        finish(engine, Limits(seconds=DAY, bytes=HUGE))
        with engine.begin() as connection:
            assert connection.execute(text("PRAGMA freelist_count")).scalar_one() == 0
        with engine.connect() as connection:
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
        assert (tmp_path / "traffic.sqlite").stat().st_size < 200_000


def test_what_is_deleted_from_sqlite_is_overwritten(tmp_path: Path) -> None:
    rows = [answered("planted words", time=NOW - 2 * DAY), *(answered("kept", time=NOW) for _ in range(50))]
    with filled(sqlite(tmp_path), rows) as engine:
        finish(engine, Limits(seconds=DAY, bytes=HUGE))
        with engine.connect() as connection:
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
        assert b"planted words" not in b"".join(path.read_bytes() for path in tmp_path.glob("traffic.sqlite*"))


def test_a_label_that_came_before_its_answer_is_not_taken_for_one_astray(url: str) -> None:
    with filled(url, [labelled("e" * 32, "early", time=NOW - 5)]) as engine:
        retire(engine, Limits(seconds=DAY, bytes=HUGE), now=NOW)
        with engine.connect() as connection:
            assert connection.execute(select(func.count()).select_from(feedback)).scalar_one() == 1
