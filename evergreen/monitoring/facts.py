"""The facts of a window: what policy, page and record are told of it.

    {"id", "model_version", "reference", "since", "until", "number", "rows", "looked_at", "labelled",
     "drift": {...}, "quality": {...} | null, "estimate": {...} | null, "explanation": {...}, "report": null, "batch": null}

Puts together what drift, quality and explanation find; knows nothing of logs, files and decisions.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from evergreen.config import Monitor
from evergreen.drift.alarms import judge
from evergreen.drift.estimate import estimate
from evergreen.drift.rows import Seen
from evergreen.monitoring.observation import Reference, for_tests
from evergreen.monitoring.window import Span, Subject, Traffic


def facts(
    subject: Subject,
    span: Span,
    traffic: Traffic,
    *,
    seen: pd.DataFrame,
    reference: Reference,
    quality: dict[str, Any] | None,
    earlier: Sequence[Seen],
    settings: Monitor,
) -> dict[str, Any]:
    """Return the facts of a window; `seen` are its rows as observed, `earlier` the rows of the windows just before."""
    rows = for_tests(seen, reference)
    return {
        "id": span.id(subject),
        "model_version": subject.model_version,
        "reference": subject.reference,
        "since": span.since,
        "until": span.until,
        "number": span.number,
        "rows": traffic.rows,
        "looked_at": len(traffic.table),
        "labelled": traffic.labelled,
        "drift": judge(reference.known, rows, number=span.number, settings=settings, earlier=earlier),
        "quality": quality,
        "estimate": estimate(reference.known, rows.probabilities, seed=settings.seed) if len(rows) else None,
        "explanation": None,
        "report": None,
        "batch": None,
    }
