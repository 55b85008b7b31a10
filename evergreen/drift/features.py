"""Detectors as sums: each detector's statistic is a weighted sum of squared differences between two means of features.

Numbers become indicators of lying below a quantile (the statistic is then Anderson-Darling's), categories indicators of each value
(Pearson's chi-squared), embeddings random Fourier features (the squared MMD) or whitened coordinates (Hotelling's), words a sketch (the
MMD with a
linear kernel). So one matrix product serves every detector, and every permutation of the rows.

All features are made from both samples together, in a way that does not know which row is whose: permutation tests on them are exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

from evergreen.data.records import CONTEXT_PREFIX, MISSING_GROUP, group_name
from evergreen.drift.rows import Seen

Kind = Literal["descriptor", "confidence", "outputs", "prediction", "group", "context", "embedding", "words"]
Floats = NDArray[np.float32]

QUANTILES = 32  # bins of a descriptor and of the confidence, at most
OUTPUT_QUANTILES = 16  # bins of a label's probability, at most
FREQUENCIES = 128  # random Fourier frequencies; each gives a sine and a cosine
MIN_EXPECTED = 5.0  # expected count in the smaller sample, under which a category is pooled with the other rare ones (Cochran's rule)
SHRINKAGE = 0.1  # of the whitened embeddings: share of the mean variance that is added to each direction's
METHODS = {
    "descriptor": "Anderson-Darling",
    "confidence": "Anderson-Darling",
    "outputs": "Anderson-Darling per label, the smallest p-value (BBSD)",
    "prediction": "chi-squared",
    "group": "chi-squared",
    "context": "chi-squared",
    "embedding": "MMD on random Fourier features",
    "embedding, whitened": "Hotelling, shrunk",
    "words": "MMD, linear kernel on hashed words",
}


@dataclass(frozen=True)
class Detector:
    """One statistic: sum over its features (columns of the matrix) of weight times squared difference of means."""

    name: str
    kind: Kind
    method: str
    columns: slice
    weights: NDArray[np.float64]
    label: str | None = None  # of the outputs: several detectors, told as one


@dataclass(frozen=True)
class Features:
    """`matrix_NF` of the pooled rows, and the detectors that read it."""

    matrix_NF: Floats
    detectors: list[Detector]


@dataclass
class _Part:
    name: str
    kind: Kind
    values: Floats
    weights: NDArray[np.float64]
    method: str | None = None
    label: str | None = None


def features(pooled: Seen, smaller: int, labels: Sequence[str], seed: int) -> Features:
    """Return the features of both samples' N rows together; `smaller` is how many rows the smaller sample has."""
    parts = [_numbers(name, "descriptor", pooled.descriptors[name].to_numpy(), QUANTILES) for name in pooled.descriptors.columns]
    parts.append(_numbers("confidence", "confidence", pooled.probabilities.max(axis=1), QUANTILES))
    for place, label in enumerate(labels):
        parts.append(_numbers("probabilities", "outputs", pooled.probabilities[:, place], OUTPUT_QUANTILES, label))
    parts.append(_categories("prediction", "prediction", pooled.probabilities.argmax(axis=1), smaller))
    for column, values in pooled.categories.items():
        kind: Kind = "context" if column.startswith(CONTEXT_PREFIX) else "group"
        parts.append(_categories(group_name(column), kind, values, smaller))
    parts += [_fourier(pooled.embeddings, seed), _whitened(pooled.embeddings)]
    parts.append(_Part("words", "words", np.asarray(pooled.sketches, np.float32), np.ones(pooled.sketches.shape[1])))
    detectors, start = [], 0
    for part in parts:
        width = part.values.shape[1]
        method = part.method or METHODS[part.kind]
        detectors.append(Detector(part.name, part.kind, method, slice(start, start + width), part.weights, part.label))
        start += width
    return Features(np.concatenate([part.values for part in parts], axis=1), detectors)


def untold(window: Seen) -> list[str]:
    """Return the columns of groups and context that no caller told: nothing can be compared there."""
    return [name for name, values in window.categories.items() if (values == MISSING_GROUP).all()]


def _numbers(name: str, kind: Kind, values: NDArray[Any], bins: int, label: str | None = None) -> _Part:
    """Mark which rows lie at or below each quantile, weighted as Anderson and Darling do: the tails count as much as the middle."""
    ordered = np.sort(values)
    edges = np.unique(ordered[np.linspace(0, len(ordered) - 1, bins + 1).astype(int)[1:-1]])
    edges = edges[edges < ordered[-1]]
    below_E = np.searchsorted(ordered, edges, side="right") / len(ordered)
    mass_E = np.diff(below_E, prepend=0.0)
    indicators = np.asarray(values[:, None] <= edges, np.float32)
    return _Part(name, kind, indicators, mass_E / (below_E * (1 - below_E)), label=label)


def _categories(name: str, kind: Kind, values: NDArray[Any], smaller: int) -> _Part:
    """Mark the rows of each category, weighted by one over its share; categories too rare to compare are pooled."""
    _, codes, found = np.unique(values.astype(str), return_inverse=True, return_counts=True)
    rare = found * smaller / len(values) < MIN_EXPECTED
    place = np.where(rare, 0, np.cumsum(~rare))
    codes = place[codes]
    present = np.unique(codes)
    indicators = np.asarray(codes[:, None] == present, np.float32)
    return _Part(name, kind, indicators, 1 / indicators.mean(axis=0, dtype=np.float64))


def _fourier(embeddings: NDArray[Any], seed: int) -> _Part:
    """Take random Fourier features of the Gaussian kernel whose squared width is the mean squared distance of two rows."""
    rows = np.asarray(embeddings, np.float32)
    width = float(np.sqrt(2 * rows.var(axis=0, dtype=np.float64).sum())) or 1.0
    directions = np.random.default_rng(seed).standard_normal((rows.shape[1], FREQUENCIES))
    angles = rows @ np.asarray(directions / width, np.float32)
    values = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    return _Part("embedding", "embedding", np.asarray(values, np.float32), np.full(2 * FREQUENCIES, 1 / FREQUENCIES))


def _whitened(embeddings: NDArray[Any]) -> _Part:
    """Take coordinates in which every direction varies alike, so that a shift shows in directions along which labels do not differ."""
    centred = np.asarray(embeddings, np.float32) - np.asarray(embeddings, np.float32).mean(axis=0)
    covariance = np.asarray(centred.T @ centred, np.float64) / len(centred)
    level = float(np.trace(covariance)) / len(covariance)
    ridged = covariance + (SHRINKAGE * level or 1.0) * np.eye(len(covariance))
    factor = np.asarray(cholesky(ridged, lower=True), np.float32)
    values = np.asarray(solve_triangular(factor, centred.T, lower=True).T, np.float32)
    name = "embedding, whitened"
    return _Part(name, "embedding", np.ascontiguousarray(values), np.ones(values.shape[1]), METHODS[name])
