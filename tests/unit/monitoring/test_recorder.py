"""Nothing that was recorded is lost, and whoever records never waits or fails."""

import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from evergreen.errors import LogError
from evergreen.monitoring.log import database, intake, request_log, tables
from evergreen.monitoring.log import recorder as module
from evergreen.monitoring.log.recorder import Recorder
from evergreen.monitoring.log.request_log import answers, feedback
from tests.log_factories import answered, labelled, recorder, sqlite, wait_until
from tests.postgresql import Server


@pytest.fixture
def log(url: str, tmp_path: Path) -> Iterator[Recorder]:
    running = recorder(tmp_path, url)
    running.start()
    yield running
    running.close()


def stored(url: str, column: Any) -> list[Any]:
    engine = database.connect(url)
    with engine.connect() as connection:
        found = list(connection.execute(select(column)).scalars())
    engine.dispose()
    return found


def emptied(log: Recorder) -> None:
    wait_until(lambda: log.state().pending == 0, "the journal is empty")


def test_an_answer_reaches_the_database_as_it_was(log: Recorder, url: str) -> None:
    row = answered("Grüße, 你好 🙂", groups={"age_band": "26-40", "first_language": "other"})
    log.answered([row])
    log.close()
    engine = database.connect(url)
    with engine.connect() as connection:
        [found] = request_log.read(connection, request_log.Window())
    assert (found.request_id, found.role, found.time, found.text, found.text_hash) == (
        row.request_id,
        "champion",
        row.time,
        row.text,
        row.text_hash,
    )
    assert list(found.probabilities.items()) == list(row.probabilities.items())
    assert found.groups == row.groups
    assert (found.confidence, found.needs_person, found.latency_ms, found.label) == (0.9, False, 3.5, None)
    engine.dispose()


def test_a_shadow_answer_stands_beside_the_one_that_the_caller_got(log: Recorder, url: str) -> None:
    row = answered()
    log.answered([row, answered(request_id=row.request_id, role="shadow")])
    log.close()
    assert sorted(stored(url, answers.c.role)) == ["champion", "shadow"]


def test_the_same_row_twice_is_kept_once(log: Recorder, url: str) -> None:
    row = answered()
    log.answered([row])
    emptied(log)
    log.answered([row])
    log.close()
    assert stored(url, answers.c.request_id) == [row.request_id]


def test_a_row_is_known_on_its_way_and_afterwards(log: Recorder) -> None:
    row = answered()
    log.answered([row])
    assert log.knows(row.request_id) is True
    emptied(log)
    assert log.knows(row.request_id) is True
    assert log.knows("0" * 32) is False


def test_a_repeated_label_is_kept_once_and_another_one_is_a_correction(log: Recorder, url: str) -> None:
    row = answered()
    log.answered([row])
    assert log.labelled(labelled(row.request_id, "card")) == "recorded"
    assert log.labelled(labelled(row.request_id, "card")) == "already recorded"
    assert log.labelled(labelled(row.request_id, "fraud")) == "corrected"
    emptied(log)
    assert log.labelled(labelled(row.request_id, "fraud")) == "already recorded"
    assert log.labelled(labelled(row.request_id, "card")) == "corrected"
    log.close()
    assert sorted(stored(url, feedback.c.label)) == ["card", "card", "fraud"]


def test_the_label_told_last_is_the_current_one_in_whatever_order_they_arrive(url: str) -> None:
    row = answered()
    late, early = labelled(row.request_id, "fraud", time=2000.0), labelled(row.request_id, "card", time=1000.0)
    engine = database.connect(url)
    request_log.prepare(engine)
    request_log.insert(engine, [late, early, row])  # labels before their answer
    assert request_log.label_of(engine, row.request_id) == "fraud"
    with engine.connect() as connection:
        assert [found.label for found in request_log.read(connection, request_log.Window())] == ["fraud"]
    engine.dispose()


def test_characters_that_no_database_takes_do_not_lose_the_row(log: Recorder, url: str) -> None:
    row = answered("a\0b\ud800c", prediction="x\0", probabilities={"x\0": 1.0}, groups={"\0": "\udfff"})
    log.answered([row])
    log.close()
    assert stored(url, answers.c.text) == ["a\ufffdb\ufffdc"]
    assert stored(url, answers.c.text_hash) == [row.text_hash]
    assert log.state().refused == 0


def test_a_poison_row_is_put_aside_and_those_around_it_pass(
    log: Recorder, url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [answered(f"row {number}") for number in range(20)]
    poison: Any = "private words"
    rows[7] = answered("poison", needs_person=poison)
    log.answered(rows)
    log.close()
    assert sorted(stored(url, answers.c.text)) == sorted(row.text for row in rows if row.text != "poison")
    assert log.state().refused == 1
    assert (tmp_path / "spool" / "refused").read_bytes().count(b"\n") == 1
    assert "private words" not in caplog.text


def test_a_row_that_postgresql_refuses_by_itself_is_put_aside(postgresql: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import random

    url = postgresql.fresh()
    log = recorder(tmp_path, url)
    log.start()
    long = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz", k=20_000))  # no index entry holds that
    log.answered([answered("before"), answered("poison", model_version=long), answered("behind")])
    log.close()
    assert sorted(stored(url, answers.c.text)) == ["before", "behind"]
    assert log.state().refused == 1
    assert long[:50] not in caplog.text


def test_rows_wait_for_a_database_that_comes_later(tmp_path: Path) -> None:
    place = tmp_path / "not yet"
    place.write_text("in the way of a folder")
    url = f"sqlite:///{place / 'traffic.sqlite'}"
    log = recorder(tmp_path, url)
    log.start()
    row = answered()
    log.answered([row])
    assert log.knows(row.request_id) is True
    assert log.knows("0" * 32) is None
    assert log.labelled(labelled(row.request_id)) == "recorded"
    assert log.labelled(labelled(row.request_id)) == "already recorded"
    state = log.state()
    assert (state.pending, state.database_up) == (2, False)
    assert state.last_error
    place.unlink()
    place.mkdir()
    emptied(log)
    wait_until(lambda: log.state().last_error is None, "all is well")
    log.close()
    assert stored(url, answers.c.request_id) == stored(url, feedback.c.request_id) == [row.request_id]


def test_rows_of_a_database_file_that_was_removed_go_to_a_new_one(tmp_path: Path) -> None:
    log = recorder(tmp_path)
    log.start()
    log.answered([answered("first")])
    emptied(log)
    for path in tmp_path.glob("traffic.sqlite*"):
        path.unlink()
    wait_until(lambda: "removed" in (log.state().last_error or "") or (tmp_path / "traffic.sqlite").exists(), "it is noticed")
    log.answered([answered("second")])
    log.close()
    assert stored(sqlite(tmp_path), answers.c.text) == ["second"]


def test_what_a_closed_recorder_left_is_taken_up_by_the_next(tmp_path: Path, url: str) -> None:
    rows = [answered(f"{number}") for number in range(5)]
    first = recorder(tmp_path, url)  # never started: its thread brings nothing to the database
    first.answered(rows)
    first.close()
    second = recorder(tmp_path, url)
    second.start()
    second.close()
    assert sorted(stored(url, answers.c.request_id)) == sorted(row.request_id for row in rows)


def test_what_a_process_left_that_died_beside_is_taken_up(log: Recorder, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ADOPTION_SECONDS", 0.0)
    beside = recorder(tmp_path, url)
    row = answered()
    beside.answered([row])
    log.answered([answered()])
    emptied(log)
    assert log.knows(row.request_id) is False  # another living process has it on its journal
    beside.close()
    wait_until(lambda: log.knows(row.request_id), "it is taken up")


def test_a_full_disk_is_answered_from_memory_and_beyond_it_by_counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "BUFFER_BYTES", 2000)
    log = recorder(tmp_path, spool_megabytes=0.001)
    rows = [answered(f"{number}") for number in range(20)]
    for row in rows:
        log.answered([row])
    state = log.state()
    assert state.dropped > 0
    assert state.pending + state.dropped == 20
    assert state.buffered_bytes <= 2000
    assert "bound" in (state.last_error or "")
    told = log.labelled(labelled(rows[0].request_id, "x" * 3000))
    assert told is None
    log.start()
    log.close()
    kept = stored(sqlite(tmp_path), answers.c.request_id)
    assert len(kept) == state.pending
    assert {*kept} == {row.request_id for row in rows[: len(kept)]}
    assert log.state().last_error is None


def test_a_url_that_cannot_work_is_refused_in_words(tmp_path: Path) -> None:
    for url, words in (
        ("mysql://somewhere/db", "'mysql'"),
        ("sqlite://", "sqlite:///FILE"),
        ("no url at all", "no database URL"),
    ):
        with pytest.raises(LogError, match=words):
            recorder(tmp_path, url)


def test_tables_of_a_newer_version_are_left_alone_and_rows_wait(tmp_path: Path, url: str) -> None:
    engine = database.connect(url)
    request_log.prepare(engine)
    with engine.begin() as connection:
        connection.execute(tables.schema.update().values(version=99))
    engine.dispose()
    log = recorder(tmp_path, url)
    log.answered([answered()])
    log.start()
    wait_until(lambda: "newer Evergreen" in (log.state().last_error or ""), "the trouble is told")
    log.close()
    assert log.state().pending == 1


def test_neither_texts_nor_passwords_reach_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(database, "CONNECT_SECONDS", 1)
    log = recorder(tmp_path, "postgresql://somebody:hunter2@127.0.0.1:1/log")
    log.start()
    log.answered([answered("planted words")])
    wait_until(lambda: "Error" in (log.state().last_error or ""), "the trouble is told")
    log.close()
    everything = caplog.text + str(log.state()) + repr(log.state())
    assert "hunter2" not in everything
    assert "planted" not in everything


def test_old_rows_go_by_themselves(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_RETENTION_SECONDS", 0.0)
    log = recorder(tmp_path, url, keep_days=1)
    log.start()
    log.answered([answered("old", time=1e9), answered("new")])
    wait_until(lambda: log.state().recorded == 2 and stored(url, answers.c.text) == ["new"], "the old row is gone")
    log.close()


def test_many_rows_do_not_hasten_the_tries_at_a_database_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def failing(_: Any) -> None:
        tries.append(1)
        raise OSError("away")

    for name, value in (("PERIOD", 600.0), ("LONGEST_WAIT", 600.0)):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(request_log, "prepare", failing)
    log = recorder(tmp_path)
    log.start()
    wait_until(lambda: tries, "the first try is made")
    for _ in range(2000):
        log.answered([answered()])
    log.close()
    assert len(tries) == 2  # at the start and at the end


def test_trouble_with_deleting_is_shown_and_rows_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any, **__: Any) -> bool:
        raise OSError("no")

    monkeypatch.setattr(module, "FIRST_RETENTION_SECONDS", 0.0)
    monkeypatch.setattr(module.retention, "retire", failing)
    log = recorder(tmp_path)
    log.start()
    wait_until(lambda: "old rows cannot be deleted" in (log.state().last_error or ""), "the trouble is told")
    assert log.state().database_up
    log.answered([answered("after")])
    log.close()
    assert stored(sqlite(tmp_path), answers.c.text) == ["after"]


def test_a_row_that_is_no_json_is_counted_and_nobody_is_disturbed(tmp_path: Path) -> None:
    log = recorder(tmp_path)
    row = answered(confidence=object())
    log.answered([row])
    assert log.state().dropped == 1
    log.close()


def test_refused_rows_are_kept_no_longer_than_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_RETENTION_SECONDS", 0.0)
    file = tmp_path / "spool" / "refused"
    file.parent.mkdir()
    file.write_text("{}")
    os.utime(file, (1e9, 1e9))
    log = recorder(tmp_path)
    log.start()
    wait_until(lambda: not file.exists(), "the old file is gone")
    log.close()


def test_rows_of_many_threads_are_all_kept(log: Recorder, url: str) -> None:
    rows = [[answered(f"{thread} {number}") for number in range(100)] for thread in range(8)]
    threads = [threading.Thread(target=lambda mine=mine: [log.answered([row]) for row in mine]) for mine in rows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert sorted(stored(url, answers.c.text)) == sorted(row.text for mine in rows for row in mine)
