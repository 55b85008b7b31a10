"""How right the live version has been, by labels that came late, against how right it was on its reference.

Labels come when they come, so the figure is not that of one window: it is taken over the newest labelled answers of the version,
whichever windows they fell into, and is as current as the labels are. Nor are labelled answers a fair sample: people look at what the
model was unsure of, and so does our own batch to label. Each labelled answer therefore weighs as much as the answers of like
confidence that it stands for (post-stratification). What this cannot mend is labels told *because* an answer was wrong.
Works on tables; knows nothing of logs and decisions.

Source: Kish, Survey Sampling (1965), for weights and the effective number of rows.
"""

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.data.records import group_columns, group_name
from evergreen.evaluation.shares import difference, share

NEWEST = 400  # labelled answers, at most: more would hide what has changed lately
MIN_ROWS = 20  # labelled answers, below which nothing is said
LEVEL = 0.95
STRATA = 5  # equally full parts of all answers, by confidence
UNLIKE = 3.0  # standard errors between the confidence of labelled answers and of all, beyond which it is said

Floats = NDArray[np.float64]


def quality(labelled: pd.DataFrame, reference: pd.DataFrame, *, confidence_of_all: Floats) -> dict[str, Any] | None:
    """Return the accuracy of labelled answers, its loss against the reference, and both by class and by group; None of too few.

    Both tables hold `label`, `prediction` and group columns, `labelled` also `confidence` and `timestamp`; `confidence_of_all` is
    that of all answers of the same time. `loss` is the reference's accuracy minus the present one (-1 to 1; 0: nothing lost), as of
    two independent samples; a lower end above a bound is a loss beyond doubt. A class is a true label: its accuracy is its recall.
    """
    if len(labelled) < MIN_ROWS:
        return None
    weights_N = fair_weights(labelled["confidence"].to_numpy(), confidence_of_all)
    now, before = _right(labelled), _right(reference)
    times = labelled["timestamp"]
    return {
        "rows": len(labelled),
        "effective_rows": round(_effective(weights_N), 1),
        "level": LEVEL,
        "from": float(times.min().timestamp()),
        "to": float(times.max().timestamp()),
        **figures(now, weights_N, before),
        "classes": _parts("label", labelled, reference, weights_N),
        "groups": [part for column in group_columns(labelled) for part in _parts(column, labelled, reference, weights_N)],
        "note": _note(labelled["confidence"].to_numpy(), confidence_of_all),
    }


def fair_weights(labelled: Floats, everyone: Floats) -> Floats:
    """Return how much each labelled answer (N,) weighs, 1 on average, so that their confidences are spread as those of all (M,)."""
    if not len(everyone):
        return np.ones(len(labelled))
    edges = np.unique(np.quantile(everyone, np.linspace(0, 1, STRATA + 1)[1:-1]))
    place_N, place_M = (np.searchsorted(edges, values, side="right") for values in (labelled, everyone))
    there = np.unique(place_N)
    # A stratum without a label is stood for by the nearest that has one.
    stands_M = there[np.abs(place_M[:, None] - there[None]).argmin(axis=1)]
    size_S = np.bincount(stands_M, minlength=STRATA + 1) / len(everyone)
    told_S = np.bincount(place_N, minlength=STRATA + 1) / len(labelled)
    return np.asarray(size_S[place_N] / told_S[place_N])


def _effective(weights_N: Floats) -> float:
    """Return how many rows of equal weight tell as much."""
    return float(weights_N.sum() ** 2 / (weights_N**2).sum()) if len(weights_N) else 0.0


def _right(table: pd.DataFrame) -> NDArray[np.bool_]:
    return (table["label"] == table["prediction"]).to_numpy(bool)


def figures(now: NDArray[np.bool_], weights_N: Floats, before: NDArray[np.bool_]) -> dict[str, Any]:
    """Return accuracy, the reference's, and the loss, of labelled answers (N,) that weigh so much, and reference rows (M,)."""
    rows = _effective(weights_N)
    right = rows * float(weights_N[now].sum() / weights_N.sum()) if rows else 0.0
    loss = difference(int(before.sum()), len(before), right, rows, level=LEVEL)
    reference = float(before.mean()) if len(before) else None
    return {"accuracy": share(right, rows, level=LEVEL).report(), "reference": reference, "loss": loss.report()}


def _parts(column: str, labelled: pd.DataFrame, reference: pd.DataFrame, weights_N: Floats) -> list[dict[str, Any]]:
    """Return the figures of each value of a column, worst loss first; one that the reference lacks has nothing to lose."""
    parts = []
    for name in sorted({*labelled[column]}):
        chosen = (labelled[column] == name).to_numpy(bool)
        before = reference[reference[column] == name] if column in reference else reference.iloc[:0]
        found = figures(_right(labelled[chosen]), weights_N[chosen], _right(before))
        parts.append({"by": group_name(column), "name": str(name), "rows": int(chosen.sum()), **found})
    return sorted(parts, key=lambda part: -part["loss"]["value"] if part["loss"] else math.inf)


def _note(labelled: Floats, everyone: Floats) -> str | None:
    """Say so where the model was surer, or less sure, of the labelled answers than of all, beyond chance."""
    if not len(everyone):
        return None
    error = float(labelled.std(ddof=1)) / math.sqrt(len(labelled))
    gap = float(labelled.mean() - everyone.mean())
    if abs(gap) <= UNLIKE * error:
        return None
    way = "surer" if gap > 0 else "less sure"
    return (
        f"labels were told for answers that the model was {way} of ({labelled.mean():.2f} on average, {everyone.mean():.2f} over all); "
        "they are weighted to make up for it"
    )
