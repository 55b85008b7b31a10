"""Rows as the drift tests see them, and the reports that the page shows."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evergreen.data.records import context_columns, group_columns
from evergreen.drift.battery import Rows, compare
from evergreen.drift.calibration import calibrate
from evergreen.drift.descriptors import describe, vocabulary
from evergreen.drift.reference import Reference, keep, reference_summary, reference_table
from evergreen.drift.rows import Seen, Vocabulary
from evergreen.drift.words import counts, sketches
from tests.factories import LABELS, examples
from tests.gate_factories import measured


def seen(rows: int, seed: int, *, labels: tuple[str, ...] = LABELS, confident: float = 1.0, shift: float = 0.0) -> Rows:
    """Return rows with made-up outputs; `confident` sharpens the probabilities, `shift` moves the embeddings."""
    table = examples(rows, labels=labels, seed=seed)
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.ones(len(labels)), size=rows) ** confident
    known = vocabulary(examples(300, labels=labels, seed=99)["text"].tolist())
    return Rows.of(
        table,
        describe(table["text"].tolist(), known),
        probabilities=probabilities / probabilities.sum(axis=1, keepdims=True),
        embeddings=random.standard_normal((rows, 8)) + shift,
    )


def drift_report(**changes: Rows) -> dict[str, Any]:
    """Return drift.json of unchanged rows, but for the changes: `drift_report(current=seen(200, 1, shift=2.0))`."""
    rows = {"current": seen(200, 1), "train": seen(400, 2), "heldout": seen(150, 3)} | changes
    return compare(**rows, labels=LABELS, level=0.01, seed=7)


def page_table(rows: int, seed: int, labels: tuple[str, ...] = LABELS) -> pd.DataFrame:
    """Return a table as the page takes it; every tenth prediction is wrong."""
    table = examples(rows, labels=labels, seed=seed)
    wrong = np.arange(rows) % 10 == 0
    described = describe(table["text"].tolist(), ()).drop(columns="unknown_word_share")
    head = pd.DataFrame({"label": table["label"], "prediction": table["label"].where(~wrong, labels[0])})
    return pd.concat([head, table["group_age_band"].rename("group age_band"), described], axis=1)


def audit_report() -> dict[str, Any]:
    """Return audit.json of two groups with enough rows and one without."""
    groups = [
        {"group": "18-34", "rows": 90, "outcome": "ok", "accuracy": measured(0.88, 0.8, 0.94), "classes": []},
        {"group": "35-59", "rows": 80, "outcome": "ok", "accuracy": measured(0.84, 0.76, 0.9), "classes": []},
        {"group": "60+", "rows": 12, "outcome": "insufficient", "accuracy": None, "classes": []},
    ]
    gap = {"label": None, "difference": measured(0.04, 0.0, 0.12), "ratio": measured(0.95, 0.9, 1.0), "lowest": "35-59", "highest": "18-34"}
    column = {"name": "age_band", "groups": groups, "gaps": [{"metric": "accuracy", **gap}]}
    largest = {"column": "age_band", "lowest": "35-59", "highest": "18-34", "difference": gap["difference"]}
    return {"columns": [column], "intersections": [], "largest_gap": largest, "reason": None}


@cache
def known_words(labels: tuple[str, ...] = LABELS) -> Vocabulary:
    """Return the words of 300 made-up train texts."""
    return Vocabulary(counts(examples(300, labels=labels, seed=99)["text"].tolist()), 300)


def seen_of(table: pd.DataFrame, *, labels: tuple[str, ...] = LABELS, seed: int = 0, shift: float = 0.0) -> Seen:
    """Return what there is to see of a table's rows, with made-up outputs; `shift` moves the embeddings."""
    random = np.random.default_rng(seed)
    texts = table["text"].tolist()
    known = known_words(labels)
    return Seen(
        descriptors=describe(texts, known.words),
        probabilities=random.dirichlet(np.ones(len(labels)), size=len(table)),
        embeddings=np.asarray(random.standard_normal((len(table), 8)) + shift, np.float32),
        sketches=sketches(texts, known.words, known.texts),
        categories={name: table[name].to_numpy(object) for name in (*group_columns(table), *context_columns(table))},
    )


def window(rows: int, seed: int, **changes: Any) -> Seen:
    """Return a window's rows, from where the reference came from but for the changes."""
    return seen_of(examples(rows, seed=seed), seed=seed, **changes)


def reference(folder: Path, *, rows: int = 200, seed: int = 0, model_version: str = "v1") -> Reference:
    """Write and load a reference of made-up rows."""
    table = examples(rows, seed=seed)
    seen = seen_of(table, seed=seed)
    answers = {
        "prediction": np.array(LABELS)[seen.probabilities.argmax(axis=1)],
        "confidence": seen.probabilities.max(axis=1),
        "probabilities": list(seen.probabilities),
    }
    kept = reference_table(table.assign(**answers), seen)
    summary = reference_summary(kept, list(seen.descriptors), labels=LABELS, model_version=model_version)
    own = table["text"].tolist()
    calibration = calibrate(seen, LABELS, seed=7)
    keep(folder, kept, summary, known_words(), Vocabulary(counts(own), len(own)), calibration)
    return Reference.load(folder)
