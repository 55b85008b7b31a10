"""Detectors as sums: each detector's statistic is a weighted sum of squared differences between two means of features.

Numbers become indicators of lying below a quantile (the statistic is then Anderson-Darling's), categories indicators of each value
(Pearson's chi-squared), embeddings random Fourier features (the squared MMD) or whitened coordinates (Hotelling's), words a sketch (the
MMD with a linear kernel). So one matrix product serves every detector, and every permutation of the rows.

A recipe says how features are made: bins, shares of categories, whitening. Fitted on both samples together it does not know which row is
whose, and permutation tests on its features are exact; fitted on the reference alone it serves for a first look at many windows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

from evergreen.data.records import CONTEXT_PREFIX, group_name
from evergreen.drift.rows import Seen

Kind = Literal["descriptor", "confidence", "outputs", "prediction", "group", "context", "embedding", "words"]
Floats = NDArray[np.float32]

QUANTILES = 32  # bins of a descriptor and of the confidence, at most
OUTPUT_QUANTILES = 16  # bins of a label's probability, at most
FREQUENCIES = 128  # random Fourier frequencies; each gives a sine and a cosine
MIN_EXPECTED = 5.0  # expected count in the smaller sample, under which a category is pooled with the other rare ones (Cochran's rule)
PROJECTED = 64  # directions, drawn at random, on which embeddings are whitened
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


Maker = Callable[[Seen], Floats]


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
class _Part:
    """Features of one detector: how they are made of rows, and their weights."""

    name: str
    kind: Kind
    make: Maker
    weights: NDArray[np.float64]
    method: str | None = None
    label: str | None = None


class Recipe:
    """How the features of rows are made, fitted on some rows, and the detectors that read them."""

    def __init__(self, rows: Seen, smaller: int, labels: Sequence[str], seed: int) -> None:
        """Fit on `rows`; `smaller` is how many rows the smaller sample has, for which categories may be too rare."""
        self._parts = [*_descriptors(rows), *_outputs(rows, labels), *_categories(rows, smaller), *_embeddings(rows, seed)]
        self._parts.append(_Part("words", "words", lambda some: np.asarray(some.sketches, np.float32), np.ones(rows.sketches.shape[1])))
        self.detectors: list[Detector] = []
        start = 0
        for part in self._parts:
            columns = slice(start, start := start + len(part.weights))
            self.detectors.append(Detector(part.name, part.kind, part.method or METHODS[part.kind], columns, part.weights, part.label))

    def matrix(self, rows: Seen) -> Floats:
        """Return the features of N rows, shape (N, features)."""
        return np.concatenate([part.make(rows) for part in self._parts], axis=1)


def _descriptors(rows: Seen) -> list[_Part]:
    def column(name: str) -> Callable[[Seen], NDArray[Any]]:
        return lambda some: some.descriptors[name].to_numpy()

    return [_numbers(name, "descriptor", rows, column(name), QUANTILES) for name in rows.descriptors.columns]


def _outputs(rows: Seen, labels: Sequence[str]) -> list[_Part]:
    def column(place: int) -> Callable[[Seen], NDArray[Any]]:
        return lambda some: some.probabilities[:, place]

    parts = [_numbers("confidence", "confidence", rows, lambda some: some.probabilities.max(axis=1), QUANTILES)]
    for place, label in enumerate(labels):
        parts.append(_numbers("probabilities", "outputs", rows, column(place), OUTPUT_QUANTILES, label))
    return parts


def _categories(rows: Seen, smaller: int) -> list[_Part]:
    def column(name: str) -> Callable[[Seen], NDArray[Any]]:
        return lambda some: some.categories[name]

    parts = [_names("prediction", "prediction", rows, lambda some: some.probabilities.argmax(axis=1), smaller)]
    for name in rows.categories:
        kind: Kind = "context" if name.startswith(CONTEXT_PREFIX) else "group"
        parts.append(_names(group_name(name), kind, rows, column(name), smaller))
    return parts


def _numbers(name: str, kind: Kind, rows: Seen, read: Callable[[Seen], NDArray[Any]], bins: int, label: str | None = None) -> _Part:
    """Mark which rows lie at or below each quantile, weighted as Anderson and Darling do: the tails count as much as the middle."""
    ordered = np.sort(read(rows))
    edges = np.unique(ordered[np.linspace(0, len(ordered) - 1, bins + 1).astype(int)])
    edges = np.concatenate([[np.nextafter(edges[0], -np.inf)], edges])  # values beyond what was met have a bin on either side
    below_E = (np.searchsorted(ordered, edges, side="right") + 0.5) / (len(ordered) + 1)
    mass_E = np.diff(below_E, prepend=0.0)
    weights = mass_E / (below_E * (1 - below_E))
    return _Part(name, kind, lambda some: np.asarray(read(some)[:, None] <= edges, np.float32), weights, label=label)


def _names(name: str, kind: Kind, rows: Seen, read: Callable[[Seen], NDArray[Any]], smaller: int) -> _Part:
    """Mark the rows of each category, weighted by one over its share; categories too rare to compare, or never met, are one."""
    values = read(rows).astype(str)
    found, counts = np.unique(values, return_counts=True)
    common = found[counts * smaller / len(values) >= MIN_EXPECTED]
    others = len(values) - int(counts[np.isin(found, common)].sum())
    weights = len(values) / np.concatenate([counts[np.isin(found, common)], [max(1, others)]])

    def make(some: Seen) -> Floats:
        member = read(some).astype(str)[:, None] == common
        return np.asarray(np.concatenate([member, ~member.any(axis=1, keepdims=True)], axis=1), np.float32)

    return _Part(name, kind, make, weights)


def _embeddings(rows: Seen, seed: int) -> list[_Part]:
    random = np.random.default_rng(seed)
    embeddings = np.asarray(rows.embeddings, np.float32)
    size = embeddings.shape[1]
    # The Gaussian kernel's squared width is the mean squared distance of two rows.
    width = float(np.sqrt(2 * embeddings.var(axis=0, dtype=np.float64).sum())) or 1.0
    directions = np.asarray(random.standard_normal((size, FREQUENCIES)) / width, np.float32)

    def fourier(some: Seen) -> Floats:
        angles = np.asarray(some.embeddings, np.float32) @ directions
        return np.concatenate([np.cos(angles), np.sin(angles)], axis=1)

    mmd = _Part("embedding", "embedding", fourier, np.full(2 * FREQUENCIES, 1 / FREQUENCIES))
    projection = random.standard_normal((size, PROJECTED)) / np.sqrt(size) if size > PROJECTED else np.eye(size)
    whitening = np.asarray(projection @ _whitening(embeddings @ projection), np.float32)
    name = "embedding, whitened"
    weights = np.ones(whitening.shape[1])
    return [mmd, _Part(name, "embedding", lambda some: np.asarray(some.embeddings, np.float32) @ whitening, weights, METHODS[name])]


def _whitening(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Return the map after which every direction varies alike, so that a shift shows in directions along which labels do not differ."""
    covariance = np.atleast_2d(np.cov(rows.T, bias=True))
    ridge = SHRINKAGE * float(np.trace(covariance)) / len(covariance) or 1.0
    factor = cholesky(covariance + ridge * np.eye(len(covariance)), lower=True)
    return np.asarray(solve_triangular(factor, np.eye(len(covariance)), lower=True).T)
