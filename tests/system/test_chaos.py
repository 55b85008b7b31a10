"""Whichever process of the loop is killed, no alert is lost, nothing is written twice, and the champion goes on answering.

benchmarks/chaos.py does the same for longer.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from evergreen.monitoring.loop import alerts, slot
from tests.system.chaos import TARGETS, Loop, loop, post

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


def test_an_event_from_outside_comes_to_a_retraining_however_often_it_is_sent(running: Loop) -> None:
    event = {
        "event": "evergreen.retrain.wanted",
        "resource": {"prefect.resource.id": "tickets"},
        "payload": {"key": "INC-4711", "because": "a new product line went on sale"},
    }
    for _ in range(3):
        told = {**event, "id": str(uuid4()), "occurred": datetime.now(UTC).isoformat()}
        assert post(f"{running.api}/events", [told])[0] == 204

    def found() -> list[alerts.Alert]:
        return [alert for alert in alerts.listed(running.engine) if alert.source == "event" and alert.state == "done"]

    [alert] = running.until(found, "the event is answered")
    assert alert.because == "a new product line went on sale"
    assert sum(one.alert == alert.id for one in slot.retrainings(running.engine)) == 1


def test_nothing_is_left_running_when_it_ends(tmp_path: Path) -> None:
    with loop(tmp_path, lease=30) as made:
        assert made.part("server") and made.part("worker") and made.part("alerts")
        made.end()
        assert made.left == []
