"""The processes of `evergreen up`: started again when they end, and ended with all their descendants."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from flows.running.components import Component, last_words

PATIENCE = 60
FOREVER = "import time; time.sleep(600)"


def component(tmp_path: Path, code: str, **changes: float) -> Component:
    return Component("thing", [sys.executable, "-c", code], dict(os.environ), tmp_path / "logs" / "thing.log", tmp_path, **changes)


def until(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_process_that_ends_is_started_again_and_the_first_end_is_told_once(tmp_path: Path) -> None:
    item = component(tmp_path, FOREVER)
    item.start()
    assert item.process is not None
    first = item.process.pid
    item.process.kill()
    until(lambda: not item.alive)
    assert "ended with status -9" in (item.tend() or "")
    until(lambda: item.tend() is None and item.alive)
    assert item.process.pid != first
    assert item.restarts == 1
    item.stop()


def test_one_that_keeps_ending_waits_longer_each_time(tmp_path: Path) -> None:
    item = component(tmp_path, "raise SystemExit(3)")
    item.start()
    for failures in (1, 2):
        until(lambda: not item.alive)
        assert "status 3" in (item.tend() or "")
        assert item.failures == failures
        restarts = item.restarts
        until(lambda restarts=restarts: item.tend() is None and item.restarts > restarts)  # type: ignore[misc]
    item.stop()


def test_stop_ends_the_descendants_too_also_those_that_will_not(tmp_path: Path) -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
    code = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {stubborn!r}], start_new_session=True); time.sleep(600)"
    item = component(tmp_path, code, seconds_to_end=0.2)
    item.start()
    until(lambda: item.log.exists() and "ready" in item.log.read_text())
    assert item.process is not None
    children = psutil.Process(item.process.pid).children(recursive=True)
    assert len(children) == 1
    item.stop()
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    assert item.tend() is None
    assert item.state == "waiting"


def test_the_end_can_be_waited_for_by_the_thread_that_gets_the_signal(tmp_path: Path) -> None:
    code = "from flows.running.components import Ending\ne = Ending()\nprint('ready', flush=True)\nprint(e.within(600), flush=True)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=PATIENCE)[0] == "True\n"


def test_last_words_of_a_log_that_is_not_there_are_none(tmp_path: Path) -> None:
    assert last_words(tmp_path / "none.log") == ""
