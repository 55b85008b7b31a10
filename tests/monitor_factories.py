"""Facts and decisions of the monitor, made up for tests."""

from typing import Any

from evergreen.drift.assumption import ASSUMPTION
from evergreen.monitoring.watch.history import Recorded, window_id


def facts(*, number: int = 1, since: float = 0.0, until: float = 10.0, model_version: str = "v1", **changes: Any) -> dict[str, Any]:
    """Facts of a quiet window of 100 rows."""
    subject = {"model_version": model_version, "reference": "r1"}
    made = {
        "id": window_id(**subject, since=since, until=until),
        **subject,
        "since": since,
        "until": until,
        "number": number,
        "rows": 100,
        "looked_at": 100,
        "labelled": 0,
        "late": 0,
        "accuracy_at_snapshot": 0.84,
        "descriptors": {"unknown_word_share": {"now": 0.06, "before": 0.05}},
        "drift": {"alarm": False, "level": 0.001, "p_value": 0.4, "tests": []},
        "quality": None,
        "estimate": None,
        "explanation": None,
        "report": None,
        "batch": None,
    }
    return {**made, **changes}


def decision(*, window: str | None, action: str = "none", time: float = 60.0, **changes: Any) -> Recorded:
    """A decision on a window, by default not to do anything."""
    made = {
        "id": window or f"between {time}",
        "window": window,
        "model_version": "v1",
        "time": time,
        "action": action,
        "trigger": "drift" if action == "retrain" else None,
        "because": "nothing has changed",
        "content": {"checks": []},
    }
    return Recorded(**{**made, **changes})


def drifting(**changes: Any) -> dict[str, Any]:
    """Facts of a window whose words have changed, with an explanation."""
    test = {
        "scale": "window",
        "name": "words",
        "kind": "words",
        "method": "MMD",
        "statistic": 0.1,
        "p_value": 0.00005,
        "note": None,
        "alarm": True,
    }
    words = [{"word": "passkey", "now": 0.2, "before": 0.0, "score": 6.1, "new": True}]
    drift = {"alarm": True, "level": 0.000137, "p_value": 0.00005, "tests": [test]}
    return facts(**{"drift": drift, "explanation": {"words": words, "rows": [], "slices": []}, **changes})


def estimated(accuracy: float) -> dict[str, Any]:
    """Accuracy without labels, with the assumption that every window's record tells."""
    figure = {"value": accuracy, "low": accuracy - 0.05, "high": accuracy + 0.05}
    return {"accuracy": figure, "loss": {"value": 0.0, "low": -0.05, "high": 0.05}, "assumption": ASSUMPTION, "labels": None}


def measured(accuracy: float, rows: int = 200) -> dict[str, Any]:
    """Quality by late labels, of a model that was right in 84 of 100 cases."""
    figures = {
        "accuracy": {"value": accuracy, "low": accuracy - 0.05, "high": accuracy + 0.05},
        "reference": 0.84,
        "loss": {"value": 0.84 - accuracy, "low": 0.84 - accuracy - 0.06, "high": 0.84 - accuracy + 0.06},
    }
    part = {"by": "age_band", "name": "18-34", "rows": rows // 2, **figures}
    new = {"by": "label", "name": "crypto", "rows": 3, "accuracy": {"value": 0.0, "low": 0.0, "high": 0.6}, "reference": None, "loss": None}
    return {
        "rows": rows,
        "effective_rows": rows - 1.0,
        "level": 0.95,
        "from": 0.0,
        "to": 9.0,
        **figures,
        "classes": [new],
        "groups": [part],
        "note": None,
    }
