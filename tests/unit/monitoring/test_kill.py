"""Whoever is killed, whenever: what was recorded reaches the database, once."""

import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from evergreen.monitoring.log import database, intake, questions
from evergreen.monitoring.log import journal as journal_module
from evergreen.monitoring.log import recorder as recorder_module
from evergreen.monitoring.log.request_log import answers
from evergreen.processes import die_with_parent
from tests.log_factories import PATIENCE, answered, labelled, recorder, sqlite, wait_until
from tests.postgresql import Server

ROOT = Path(__file__).parents[3]
MOST_AT_ONCE = 2  # rows of one append, the one that a kill may cut between the write and the word of it


class Recording:
    """A process that records; `told` are the ids that it said are on record."""

    def __init__(self, url: str, spool: Path) -> None:
        command = [sys.executable, "-m", "tests.unit.monitoring.recording", url, str(spool)]
        self.told: list[str] = []
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        self.told += [line.strip() for line in self._counted(self.process.stdout) if line.endswith("\n")]

    def _counted(self, lines: Iterator[str]) -> Iterator[str]:
        self.count = 0
        for line in lines:
            self.count += 1
            yield line

    def wait_for(self, rows: int) -> None:
        wait_until(lambda: getattr(self, "count", 0) >= rows, f"{rows} rows are on record")

    def kill(self) -> list[str]:
        self.process.kill()
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self.process.stdout
        self.process.stdout.close()
        return self.told


def emptied_into(url: str, folder: Path) -> list[str]:
    """Bring what is left in the spool to the database; return the ids of all its rows."""
    log = recorder(folder, url)
    log.start()
    wait_until(lambda: log.state().database_up, "the database is up")
    log.close(PATIENCE)
    assert log.state().pending == 0
    assert log.state().damaged == log.state().refused == log.state().dropped == 0
    engine = database.connect(url)
    with engine.connect() as connection:
        found = list(connection.execute(select(answers.c.request_id)).scalars())
    engine.dispose()
    return found


def check(told: list[str], found: list[str], kills: int) -> None:
    assert len(told) == len({*told}) > 0
    assert len(found) == len({*found})  # each once
    assert {*told} - {*found} == set()  # nothing that was on record is missing
    assert len(found) - len(told) <= kills * MOST_AT_ONCE  # recorded, and killed before it could be told


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_no_row_is_lost_or_doubled_when_the_process_is_killed_again_and_again(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = sqlite(tmp_path) if kind == "sqlite" else request.getfixturevalue("postgresql").fresh()
    chance, told = random.Random(5), []
    for _ in range(6):
        running = Recording(url, tmp_path / "spool")
        running.wait_for(chance.randrange(1, 1500))
        told += running.kill()
    check(told, emptied_into(url, tmp_path), kills=6)


def test_no_row_is_lost_or_doubled_when_postgresql_is_killed_under_load(postgresql: Server, tmp_path: Path) -> None:
    url = postgresql.fresh()
    running = Recording(url, tmp_path / "spool")
    for rows in (500, 1500, 2500):
        running.wait_for(rows)
        postgresql.kill()
        running.wait_for(rows + 300)  # answering goes on without it
        postgresql.start()
    told = running.kill()
    check(told, emptied_into(url, tmp_path), kills=1)


def test_rows_reach_a_postgresql_that_was_stopped_all_along(postgresql: Server, tmp_path: Path) -> None:
    url = postgresql.fresh()
    postgresql.stop()
    try:
        log = recorder(tmp_path, url)
        log.start()
        rows = [answered(f"{number}") for number in range(100)]
        for row in rows:
            log.answered([row])
        assert log.knows(rows[-1].request_id) is True
        assert log.knows("0" * 32) is None
        assert (log.state().pending, log.state().database_up) == (100, False)
    finally:
        postgresql.start()
    wait_until(lambda: log.state().pending == 0, "the rows are in the database")
    assert log.knows("0" * 32) is False
    log.close()
    assert sorted(emptied_into(url, tmp_path)) == sorted(row.request_id for row in rows)


def test_a_postgresql_that_hangs_makes_nobody_wait_for_long(postgresql: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(recorder_module, "HANGING_SECONDS", 1.0)
    log = recorder(tmp_path, postgresql.fresh())
    log.start()
    first = answered("before")
    log.answered([first])
    wait_until(lambda: log.state().recorded == 1, "the first row is in the database")
    with postgresql.hanging():
        rows = [answered(f"{number}") for number in range(50)]
        for row in rows:
            log.answered([row])
        assert log.knows(first.request_id) is None
        assert log.labelled(labelled(first.request_id)) == "recorded"
        wait_until(lambda: not log.state().database_up, "it counts as away")
        assert log.state().pending == 51
    wait_until(lambda: log.state().pending == 0, "the rows are in the database")
    wait_until(lambda: log.knows(first.request_id), "questions are answered again")
    log.close()


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_loses_what_it_counts_and_nothing_else(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", kilobytes=512) as disk:
        filler = disk / "filler"
        log = recorder(disk)
        log.start()
        first = answered("before the disk is full")
        log.answered([first])
        wait_until(lambda: log.state().recorded == 1, "the first row is in the database")
        fill(filler)
        rows = [answered(f"{number}", groups={"padding": "x" * 2000}) for number in range(300)]
        for row in rows:
            log.answered([row])
        wait_until(lambda: not log.state().database_up and log.state().last_error, "the trouble is shown")
        assert log.state().pending + log.state().dropped >= 1
        assert log.knows(rows[-1].request_id) is True
        filler.unlink()
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        wait_until(lambda: log.state().pending == 0 and log.state().last_error is None, "all is well again")
        assert log.state().dropped == 0
        log.close()
        assert {*emptied_into(sqlite(disk), disk)} == {row.request_id for row in [first, *rows]}


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as opened:
        for size in (4096, 1):
            try:
                while True:
                    opened.write(b"x" * size)
            except OSError:
                continue


def test_memory_stays_bounded_while_neither_disk_nor_database_takes_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal_module.os, "write", failing)
    log = recorder(tmp_path)  # not started: nothing is brought anywhere
    row = answered("x" * 100_000)
    for _ in range(400):
        log.answered([row])
    state = log.state()
    assert state.buffered_bytes <= intake.BUFFER_BYTES
    assert state.pending + state.dropped == 400
    assert state.dropped > 200
