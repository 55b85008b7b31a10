"""Facts and decisions of the monitor, made up for tests."""

from typing import Any

from evergreen.monitoring.history import Recorded, window_id


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
        "labelled": 0,
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
