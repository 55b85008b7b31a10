"""Windows, situations and settings of the policy, for tests."""

from typing import Any

from evergreen.monitoring.policy import DAY, Situation
from evergreen.sections.loop import Policy

NOW = 1_800_000_000.0


def settings(**changes: Any) -> Policy:
    """The shipped settings, spelt out, so that a change of params.yaml breaks no test."""
    given = {
        "max_age_days": 180,
        "new_labels": None,
        "measured_loss": 0.03,
        "estimated_loss": 0.03,
        "persistence": 2,
        "min_labels": 200,
        "cooldown_hours": 72,
        "budget": 4,
        "budget_days": 30,
        "lease_seconds": 90,
    }
    return Policy(**{**given, **changes})


def window(number: int = 1, *, alarm: bool = False, estimated: float | None = 0.0, measured: float | None = None, **changes: Any) -> dict:
    """The facts of a window: a day long, the number-th of its version."""
    facts = {
        "id": f"{number:016x}",
        "model_version": "56dfc9c329af",
        "reference": "aa" * 8,
        "since": NOW + (number - 1) * DAY,
        "until": NOW + number * DAY,
        "number": number,
        "rows": 100,
        "labelled": 0 if measured is None else 60,
        "drift": {"alarm": alarm, "level": 0.0001, "p_value": 0.00001 if alarm else 0.4, "tests": []},
        "quality": None if measured is None else {"rows": 60, "loss": around(measured)},
        "estimate": None if estimated is None else {"loss": around(estimated)},
        "explanation": {"words": [], "rows": [], "slices": []},
        "report": None,
        "batch": None,
    }
    return {**facts, **changes}


def around(value: float, half: float = 0.02) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half}


def situation(**changes: Any) -> Situation:
    """A loop at rest: young data, labels enough, nothing running, nothing open."""
    return Situation(**{"now": NOW, "newest_row": NOW - 10 * DAY, "new_labels": 1000, **changes})
