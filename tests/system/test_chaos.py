"""Whichever process of the loop is killed, no alert is lost, nothing is written twice, and the champion goes on answering.

benchmarks/chaos.py does the same for longer.
"""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.chaos import TARGETS, Loop, loop

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    with loop(tmp_path_factory.mktemp("chaos"), lease=30) as made:
        yield made


@pytest.mark.parametrize("target", TARGETS)
def test_a_kill_loses_no_alert_and_frees_the_slot(running: Loop, target: str) -> None:
    told = running.round(target, random.Random(TARGETS.index(target)))
    assert told.faults == []
    assert told.requests > 0


def test_nothing_is_left_running_when_it_ends(tmp_path: Path) -> None:
    with loop(tmp_path, lease=30) as made:
        assert made.part("server") and made.part("worker") and made.part("alerts")
        made.end()
        assert made.left == []
