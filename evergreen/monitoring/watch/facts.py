"""The facts of a window: what policy, page and record are told of it.

    {"id", "model_version", "reference", "since", "until", "number", "rows", "looked_at", "labelled", "late",
     "accuracy_at_snapshot",
     "drift": {"alarm", "level", "p_value", "tests": [...]}, "quality": {...} | null, "estimate": {...} | null,
     "descriptors": {name: {"now", "before"}}, "explanation": {"words", "rows", "slices"}, "report": file | null, "batch": file | null}

Puts together what drift, quality and explanation find; knows nothing of logs, files and decisions.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.drift.alarms import judge
from evergreen.drift.estimate import estimate
from evergreen.drift.reference import Reference
from evergreen.drift.rows import Seen
from evergreen.monitoring.watch.explanation import changed_slices, changed_words, telling_rows
from evergreen.monitoring.watch.quality import LEVEL
from evergreen.monitoring.watch.window import Span, Subject, Traffic
from evergreen.sections.loop import Monitor


def facts(
    subject: Subject,
    span: Span,
    traffic: Traffic,
    *,
    table: pd.DataFrame,
    seen: Seen,
    earlier: Sequence[Seen],
    reference: Reference,
    quality: dict[str, Any] | None,
    late: int,
    settings: Monitor,
) -> dict[str, Any]:
    """Return the facts of a window: `table` has its distinct texts (N), `seen` what there is to see of them.

    `late` answers of the window before reached the log after that was judged: they are looked at with the newest windows together alone.
    """
    return {
        "id": span.id(subject),
        "model_version": subject.model_version,
        "reference": subject.reference,
        "since": span.since,
        "until": span.until,
        "number": span.number,
        "rows": traffic.rows,
        "looked_at": len(table),
        "labelled": traffic.labelled,
        "late": late,
        "accuracy_at_snapshot": float((named(reference.rows, reference) == reference.truth).mean()),
        "drift": judge(reference, seen, number=span.number, settings=settings, earlier=earlier),
        "quality": quality,
        "estimate": estimate(reference, seen.probabilities, level=LEVEL, seed=settings.seed),
        "descriptors": descriptors(seen, reference),
        "explanation": explanation(table, seen, reference),
        "report": None,
        "batch": None,
    }


def descriptors(seen: Seen, reference: Reference) -> dict[str, dict[str, float]]:
    """Return the mean of each descriptor, of the confidence too, in the window and at the snapshot."""
    pairs = {name: (seen.descriptors[name], reference.rows.descriptors[name]) for name in seen.descriptors.columns}
    pairs["confidence"] = (seen.probabilities.max(axis=1), reference.rows.probabilities.max(axis=1))
    return {str(name): {"now": float(now.mean()), "before": float(before.mean())} for name, (now, before) in pairs.items()}


def explanation(table: pd.DataFrame, seen: Seen, reference: Reference) -> dict[str, Any]:
    """Return the words, rows (by id) and slices that tell the window from the reference."""
    own, train = reference.own, reference.train
    return {
        "words": changed_words(table["text"].tolist(), own.words, own.texts, train.words),
        "rows": table["id"].iloc[telling_rows(seen.embeddings, reference.rows.embeddings)].tolist(),
        "slices": changed_slices(names(seen, reference), names(reference.rows, reference)),
    }


def names(rows: Seen, reference: Reference) -> pd.DataFrame:
    """Return what can be counted of N rows: predictions, groups and context, one column each."""
    return pd.DataFrame({"prediction": named(rows, reference), **rows.categories})


def columns(rows: Seen, reference: Reference) -> pd.DataFrame:
    """Return all that can be shown of N rows without a text: descriptors, confidence, predictions, groups and context."""
    confidence = pd.Series(rows.probabilities.max(axis=1), name="confidence")
    return pd.concat([rows.descriptors.reset_index(drop=True), confidence, names(rows, reference)], axis=1)


def named(rows: Seen, reference: Reference) -> NDArray[Any]:
    """Return the predicted label of each row."""
    return np.asarray(np.array(reference.labels, dtype=object)[rows.probabilities.argmax(axis=1)])
