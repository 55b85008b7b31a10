"""A retraining at work keeps its claim; one that lost it is told, and one that died gives no more signs."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from evergreen.errors import ClaimLost
from evergreen.monitoring.loop import lease as module
from evergreen.monitoring.loop import slot
from evergreen.monitoring.loop.lease import kept
from evergreen.monitoring.loop.loop_tables import retrainings
from tests.alert_factories import claimed, holding, loop, raised, state
from tests.log_factories import PATIENCE, sqlite, wait_until
from tests.policy_factories import settings

SHORT = settings(lease_seconds=5)

HOLDER = """
import sys
from evergreen.monitoring.loop.lease import kept
from tests.alert_factories import holding, loop, raised
from tests.unit.monitoring.test_lease import SHORT

with loop(sys.argv[1]) as engine, kept(engine, holding(engine, raised(engine, now=None), now=None, settings=SHORT)):
    print("at work", flush=True)
    sys.stdin.read()
"""


def heartbeat(engine) -> float:
    found = slot.running(engine)
    assert found is not None
    return found.heartbeat


def test_signs_of_life_keep_the_claim(url: str) -> None:
    with loop(url) as engine:
        claim = holding(engine, raised(engine, now=None), now=None, settings=SHORT)
        first = heartbeat(engine)
        with kept(engine, claim) as lease:
            wait_until(lambda: heartbeat(engine) > first + 1.5, "two signs of life")
            lease.check()
        assert slot.finish(engine, claim, "finished")


def test_one_whose_place_was_given_away_is_stopped(url: str) -> None:
    told = threading.Event()
    with loop(url) as engine:
        claim = holding(engine, raised(engine, now=None), now=None, settings=SHORT)
        with kept(engine, claim, lost=told.set) as lease:
            assert slot.sweep(engine, now=2e10)
            assert told.wait(PATIENCE)
            with pytest.raises(ClaimLost, match="given to others"):
                lease.check()


def test_a_database_that_is_away_for_a_moment_ends_nothing_and_one_that_stays_away_does(tmp_path: Path) -> None:
    told = threading.Event()
    with loop(sqlite(tmp_path)) as engine:
        claim = holding(engine, raised(engine, now=None), now=None, settings=settings(lease_seconds=8))
        first = heartbeat(engine)
        with kept(engine, claim, lost=told.set) as lease:
            table = retrainings.name
            with engine.begin() as connection:
                connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO elsewhere")
            assert not told.wait(2)
            with engine.begin() as connection:
                connection.exec_driver_sql(f"ALTER TABLE elsewhere RENAME TO {table}")
            wait_until(lambda: heartbeat(engine) > first + 2, "a sign of life after the pause")
            assert lease.held
            with engine.begin() as connection:
                connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO elsewhere")
            assert told.wait(PATIENCE) and not lease.held


@pytest.fixture
def given() -> slot.Claim:
    """A claim whose lease is over in a moment."""
    return slot.Claim("r1", "h1", "a1", ("a1",), "drift", "drift", None, 0.0, 0.5)


def test_a_sign_of_life_that_hangs_does_not_outlive_the_lease(tmp_path: Path, given: slot.Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    told, back = threading.Event(), threading.Event()
    monkeypatch.setattr(module, "renew", lambda *_: back.wait(PATIENCE))
    with loop(sqlite(tmp_path)) as engine, kept(engine, given, lost=told.set) as lease:
        assert told.wait(PATIENCE) and not back.is_set()
        with pytest.raises(ClaimLost):
            lease.check()
        back.set()


def test_a_check_looks_at_the_clock_itself(tmp_path: Path, given: slot.Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    with loop(sqlite(tmp_path)) as engine:
        lease = module.Lease(engine, given, lambda: None)  # its threads have not come to their turn
        now = time.monotonic()
        monkeypatch.setattr(module.time, "monotonic", lambda: now + 1)
        with pytest.raises(ClaimLost):
            lease.check()


def test_any_other_error_in_a_sign_of_life_counts_as_lost_and_is_told(
    tmp_path: Path, given: slot.Claim, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> bool:
        raise RuntimeError("secret words")

    told = threading.Event()
    monkeypatch.setattr(module, "renew", broken)
    monkeypatch.setattr(module, "SIGNS", 1000)
    with loop(sqlite(tmp_path)) as engine, kept(engine, replace(given, lease_seconds=2 * PATIENCE), lost=told.set) as lease:
        assert told.wait(PATIENCE) and not lease.held
    assert "has lost its claim: signs of life have ended (RuntimeError)" in caplog.text and "secret" not in caplog.text


def test_a_killed_holder_is_found_dead_and_the_next_one_gets_the_alert(url: str) -> None:
    command = [sys.executable, "-c", HOLDER, url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process, loop(url) as engine:
        assert process.stdout is not None and process.stdout.readline() == "at work\n"
        os.kill(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)
        dead: list[slot.Retraining] = []
        wait_until(lambda: dead.extend(slot.sweep(engine)) or dead, "the lease runs out")
        alert = raised(engine, now=None)
        assert dead[0].state == "crashed" and state(engine, alert) == "open"
        assert isinstance(claimed(engine, alert, holder="h2", now=None), slot.Claim)


def test_the_claim_of_another_holder_is_not_renewed(url: str) -> None:
    with loop(url) as engine:
        claim = holding(engine, raised(engine))
        with engine.begin() as connection:
            connection.execute(update(retrainings).values(holder="h2"))
        assert not slot.renew(engine, claim)
