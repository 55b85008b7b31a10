"""Databases of the loop, alerts and claims, for tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine

from evergreen.monitoring.log import database
from evergreen.monitoring.loop import alerts, loop_tables, slot
from tests.policy_factories import NOW, settings

LIVE = "56dfc9c329af"


@contextmanager
def loop(url: str) -> Iterator[Engine]:
    """A database with the loop's tables."""
    engine = database.connect(url)
    loop_tables.prepare(engine)
    try:
        yield engine
    finally:
        engine.dispose()


def raised(engine: Engine, **changes: Any) -> alerts.Alert:
    """An alert of the monitor about the live model."""
    given = {"source": "monitor", "trigger": "drift", "because": "drift", "model_version": LIVE, "reference": "aa" * 8, "now": NOW}
    return alerts.raise_alert(engine, **{**given, "window": "w1", **changes})[0]


def claimed(engine: Engine, alert: alerts.Alert, **changes: Any) -> slot.Claim | slot.Refusal:
    """What somebody who wants to retrain is told."""
    return slot.claim(engine, alert.id, **{"holder": "h1", "live": LIVE, "settings": settings(), "now": NOW, **changes})


def holding(engine: Engine, alert: alerts.Alert, **changes: Any) -> slot.Claim:
    """A claim that was granted."""
    claim = claimed(engine, alert, **changes)
    assert isinstance(claim, slot.Claim), claim
    return claim


def state(engine: Engine, alert: alerts.Alert) -> str:
    found = alerts.find(engine, alert.id)
    assert found is not None
    return found.state
