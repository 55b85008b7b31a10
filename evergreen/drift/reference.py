"""The reference: what the model met and answered on test rows, kept so that later traffic can be compared with it.

No texts are kept: descriptors, embeddings, outputs, labels, groups and context, row by row, and a summary of their shape.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.data.records import context_columns, group_columns

BINS = 10  # of a descriptor's histogram, equally full


def sample(table: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    """Return at most `most` rows, chosen by the seed, in their order."""
    if len(table) <= most:
        return table.reset_index(drop=True)
    chosen = np.random.default_rng(seed).choice(len(table), size=most, replace=False)
    return table.iloc[np.sort(chosen)].reset_index(drop=True)


def reference_table(predictions: pd.DataFrame, descriptors: pd.DataFrame, embeddings: NDArray[Any]) -> pd.DataFrame:
    """Return the reference, one line per row of `predictions` (N, with `probabilities`, `prediction`, `confidence`).

    Columns: id, label, groups, context, prediction, confidence, probabilities (list), the descriptors, embedding (list of float32).
    """
    columns = ["id", "label", *group_columns(predictions), *context_columns(predictions), "prediction", "confidence", "probabilities"]
    table = pd.concat([predictions[columns].reset_index(drop=True), descriptors.reset_index(drop=True)], axis=1)
    return table.assign(embedding=list(np.asarray(embeddings, np.float32)))


def reference_summary(table: pd.DataFrame, descriptors: Sequence[str], *, labels: Sequence[str], model_version: str) -> dict[str, Any]:
    """Return how the reference is shaped: rows, shares of labels, predictions, groups and context, and each descriptor's bins.

    A descriptor has `edges` (inner edges of at most 10 about equally full bins; a value belongs right of an edge that it
    reaches) and `shares`, one more than there are edges, summing to 1.
    """
    groups = [*group_columns(table), *context_columns(table)]
    return {
        "format": 1,
        "model_version": model_version,
        "rows": len(table),
        "labels": list(labels),
        "embedding_size": len(table["embedding"].iloc[0]),
        "mean_confidence": float(table["confidence"].mean()),
        "shares": {name: _shares(table[name]) for name in ("label", "prediction", *groups)},
        "descriptors": {name: _histogram(table[name].to_numpy()) for name in descriptors},
    }


def _shares(values: pd.Series) -> dict[str, float]:
    return {str(name): float(share) for name, share in values.value_counts(normalize=True).sort_index().items()}


def _histogram(values: NDArray[Any]) -> dict[str, list[float]]:
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
    edges = edges[edges > values.min()]
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    return {"edges": [float(edge) for edge in edges], "shares": [float(share) for share in counts / counts.sum()]}
