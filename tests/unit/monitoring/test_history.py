"""What the monitor has seen and decided is kept once, on every database, also when two look at the same time."""

from typing import Any

import pytest

from evergreen.errors import LogError, MonitorError
from evergreen.monitoring.log import database, request_log, tables
from evergreen.monitoring.watch import history
from tests.monitor_factories import decision, facts


@pytest.fixture
def engine(url: str) -> Any:
    made = database.connect(url)
    history.prepare(made)
    yield made
    made.dispose()


def test_a_window_is_recorded_once(engine: Any) -> None:
    first = history.record(engine, facts(number=1), now=50.0)
    again = history.record(engine, {**facts(number=1), "rows": 999}, now=60.0)
    assert again == first == history.find(engine, first["id"])
    assert history.read(engine) == [first]


def test_no_two_windows_share_a_number(engine: Any) -> None:
    history.record(engine, facts(number=1, since=0.0, until=10.0), now=50.0)
    with pytest.raises(MonitorError, match="judged by another monitor"):
        history.record(engine, facts(number=1, since=0.0, until=11.0), now=51.0)


def test_the_next_window_begins_where_the_last_of_its_subject_ended(engine: Any) -> None:
    for number, (since, until) in enumerate([(0.0, 10.0), (10.0, 25.0)], start=1):
        history.record(engine, facts(number=number, since=since, until=until), now=until)
    history.record(engine, facts(number=1, since=0.0, until=99.0, model_version="other"), now=99.0)
    assert history.judged(engine, model_version="v1", reference="r1") == history.Judged(25.0, 2)
    assert history.judged(engine, model_version="v1", reference="r2") is None


@pytest.mark.parametrize(("since", "until", "found"), [(5.0, 8.0, True), (10.0, 20.0, False), (9.0, 30.0, True), (-5.0, 0.0, False)])
def test_an_overlap_with_a_judged_window_is_found(engine: Any, since: float, until: float, found: bool) -> None:
    history.record(engine, facts(number=1, since=0.0, until=10.0), now=50.0)
    assert bool(history.overlapping(engine, model_version="v1", reference="r1", since=since, until=until)) is found


def test_a_window_without_a_decision_is_found_until_it_has_one(engine: Any) -> None:
    first, second = (history.record(engine, facts(number=n, since=n * 10.0, until=n * 10.0 + 10), now=n * 10.0) for n in (1, 2))
    history.record_decision(engine, decision(window=second["id"]))
    assert history.undecided(engine) == [first]
    history.record_decision(engine, decision(window=first["id"]))
    assert history.undecided(engine) == []


def test_the_first_decision_on_a_window_stays(engine: Any) -> None:
    window = history.record(engine, facts(number=1), now=50.0)["id"]
    first = history.record_decision(engine, decision(window=window, action="retrain"))
    again = history.record_decision(engine, decision(window=window, action="none"))
    assert again == first
    assert history.read_decisions(engine) == [first]


def test_the_last_windows_come_oldest_first(engine: Any) -> None:
    made = [history.record(engine, facts(number=n, since=n * 10.0, until=n * 10.0 + 10), now=n * 10.0) for n in (1, 2, 3)]
    assert history.read(engine, last=2) == made[1:]
    assert history.read(engine, model_version="other") == []


def test_old_windows_go_but_those_the_next_look_needs_and_every_decision_stays(engine: Any) -> None:
    for version in ("old", "live"):
        for n in range(1, 5):
            made = facts(number=n, since=n * 10.0, until=n * 10.0 + 10, model_version=version)
            history.record(engine, made, now=n * 10.0)
            told = {"window": made["id"], "model_version": version, "time": n * 10.0}
            history.record_decision(engine, decision(**told))
            history.record_decision(engine, decision(**told, id=f"{version} {n}"))
    made = history.read_decisions(engine)
    history.forget(engine, before=45.0, live="live", keep=2)
    left = [(one["model_version"], one["number"]) for one in history.read(engine)]
    assert sorted(left) == [("live", 3), ("live", 4), ("old", 4)]
    assert history.undecided(engine) == []
    assert history.read_decisions(engine) == made and len(made) == 16
    assert history.judged(engine, model_version="old", reference="r1") == history.Judged(50.0, 4)


def test_history_and_request_log_share_a_database(url: str) -> None:
    engine = database.connect(url)
    request_log.prepare(engine)
    with pytest.raises(LogError, match="no monitor's history yet"):
        tables.check(engine, name=history.NAME, version=history.SCHEMA)
    history.prepare(engine)
    history.prepare(engine)
    request_log.check(engine)
    tables.check(engine, name=history.NAME, version=history.SCHEMA)
    engine.dispose()


def test_a_newer_history_is_refused(engine: Any, url: str) -> None:
    with engine.begin() as connection:
        connection.execute(tables.schema.update().where(tables.schema.c.name == history.NAME).values(version=2))
    with pytest.raises(LogError, match="made by a newer Evergreen"):
        history.prepare(engine)
