"""The facts of a window: what policy, page and record are told of it.

    {"id", "model_version", "reference", "since", "until", "number", "rows", "looked_at", "labelled",
     "drift": {...}, "quality": {...} | null, "estimate": {...} | null, "explanation": {...}, "report": null, "batch": null}

Puts together what drift, quality and explanation find; knows nothing of logs, files and decisions.
"""

from typing import Any

import numpy as np
import pandas as pd

from evergreen.drift.battery import Rows, compare
from evergreen.monitoring.observation import Reference
from evergreen.monitoring.window import Span, Subject, Traffic


def facts(
    subject: Subject,
    span: Span,
    traffic: Traffic,
    *,
    seen: pd.DataFrame,
    reference: Reference,
    quality: dict[str, Any] | None,
    level: float,
    seed: int,
) -> dict[str, Any]:
    """Return the facts of a window; `seen` are its rows as observed."""
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
        "drift": _drift(seen, reference, level, seed),
        "quality": quality,
        "estimate": None,
        "explanation": None,
        "report": None,
        "batch": None,
    }


def _drift(seen: pd.DataFrame, reference: Reference, level: float, seed: int) -> dict[str, Any]:
    before, now = _rows(reference.table, reference), _rows(seen, reference)
    found = compare(current=now, train=before, heldout=before, labels=reference.labels, level=level, seed=seed)
    names = ("name", "kind", "method", "statistic", "p_value", "note")
    tests = [{**{name: test[name] for name in names}, "alarm": test["drifted"]} for test in found["tests"] if test["kind"] != "label"]
    smallest = min((test["p_value"] for test in tests if test["p_value"] is not None), default=1.0)
    return {"alarm": found["drifted"] > 0, "level": level, "p_value": min(1.0, smallest * len(tests)), "tests": tests}


def _rows(table: pd.DataFrame, reference: Reference) -> Rows:
    stacked = {"probabilities": np.stack(table["probabilities"].to_list()), "embeddings": np.stack(table["embedding"].to_list())}
    return Rows.of(table.assign(label=table["prediction"]), table[reference.descriptors], **stacked)
