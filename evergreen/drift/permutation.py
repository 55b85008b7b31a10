"""Permutation tests of many detectors at once: how surprising the least likely of them is, where both samples come from one source.

An analytic p-value (the tail of a weighted sum of chi-squareds, three cumulants matched) puts all detectors on one scale; the
permutations of the rows then say how often the smallest of them is as small by chance, correlated as the detectors are (Westfall and
Young 1993). Drawing ends early where the answer is plain (Besag and Clifford 1991). Knows nothing of what the features mean.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc

from evergreen.drift.features import Features

ENOUGH = 20  # permutations as surprising as what was seen, after which the p-value is known well enough
FIRST, LARGEST = 64, 1024  # permutations drawn at once, growing
TINY = 1e-300
NOISE = 1e-5  # largest deviation from its mean, of numbers about 1, that is rounding

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """The null distributions of D detectors: shifted gammas that match three cumulants."""

    shape_D: Doubles
    scale_D: Doubles
    shift_D: Doubles

    def tail(self, statistics: Doubles) -> Doubles:
        """Return the analytic p-values of statistics, shape (..., D); 1 where a detector cannot vary."""
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = np.maximum(0, (statistics - self.shift_D) / self.scale_D)
            values = gammaincc(self.shape_D, scaled)
        return np.asarray(np.maximum(np.where(self.scale_D > 0, values, 1.0), TINY))


@dataclass(frozen=True)
class Judged:
    """What the permutations say. `p_value` is that of the smallest; `adjusted_D` those of each detector among all of them."""

    p_value: float
    statistics_D: Doubles
    analytic_D: Doubles
    adjusted_D: Doubles
    drawn: int


class Comparison:
    """The rows of two samples, ready to be permuted: the last `rows` of the features' rows are one sample, the others the other."""

    def __init__(self, found: Features, rows: int) -> None:
        centred_NF = found.matrix_NF - found.matrix_NF.mean(axis=0, dtype=np.float64).astype(np.float32)
        centred_NF[:, np.abs(centred_NF).max(axis=0) < NOISE] = 0  # what never varies must not be tested by its rounding
        self._matrix_NF = centred_NF
        self._total, self._rows = len(found.matrix_NF), rows
        self._slices = [detector.columns for detector in found.detectors]
        self._weights_FD = _weights(found)
        self.scale = _scale(self._matrix_NF, found, rows)

    def statistics(self, sums_BF: NDArray[Any]) -> Doubles:
        """Return each detector's statistic, shape (B, D), from the sums of one sample's centred features."""
        gap_BF = np.asarray(sums_BF, np.float64) * (self._total / self._rows / (self._total - self._rows))
        return np.asarray(gap_BF**2 @ self._weights_FD)

    def observed(self) -> Doubles:
        """Return each detector's statistic of the two samples as they are, shape (D,)."""
        sums_F = self._matrix_NF[self._total - self._rows :].sum(axis=0, dtype=np.float64)
        return np.asarray(self.statistics(sums_F[None])[0])

    def drawn(self, random: np.random.Generator, most: int) -> Iterator[Doubles]:
        """Yield analytic p-values of random permutations, shape (B, D), `most` of them in growing batches."""
        size, left = FIRST, most
        fewer = min(self._rows, self._total - self._rows)
        while left:
            size = min(size, left)
            member_BN = np.zeros((size, self._total), np.float32)
            member_BN[:, :fewer] = 1
            sums_BF = random.permuted(member_BN, axis=1) @ self._matrix_NF
            yield self.scale.tail(self.statistics(sums_BF))
            left -= size
            size = min(2 * size, LARGEST)


def judged(compared: Comparison, *, level: float, least: int, random: np.random.Generator) -> Judged:
    """Test all detectors together. Alarms at p <= level are right however small the level is: enough permutations are drawn for it.

    At least `least` are drawn unless ENOUGH of them were as surprising before; then the p-value is that of Besag and Clifford.
    """
    statistics = compared.observed()
    analytic = compared.scale.tail(statistics)
    smallest, most = analytic.min(), max(least, int(np.ceil(2 / level)))
    lowest: list[Doubles] = []
    beaten, drawn = 0, 0
    for values in compared.drawn(random, most):
        minima = values.min(axis=1)
        lowest.append(minima)
        surprising = np.flatnonzero(minima <= smallest)
        if beaten + len(surprising) >= ENOUGH:
            drawn += int(surprising[ENOUGH - beaten - 1]) + 1
            beaten = ENOUGH
            break
        beaten, drawn = beaten + len(surprising), drawn + len(minima)
    p_value = beaten / drawn if beaten == ENOUGH else (1 + beaten) / (1 + drawn)
    ordered = np.sort(np.concatenate(lowest)[:drawn])
    adjusted = (1 + np.searchsorted(ordered, analytic, side="right")) / (1 + len(ordered))
    return Judged(p_value, statistics, analytic, np.maximum(np.minimum(adjusted, 1), p_value), drawn)


def _weights(found: Features) -> Doubles:
    weights_FD = np.zeros((found.matrix_NF.shape[1], len(found.detectors)))
    for place, detector in enumerate(found.detectors):
        weights_FD[detector.columns, place] = detector.weights
    return weights_FD


def _scale(centred_NF: NDArray[np.float32], found: Features, rows: int) -> Scale:
    """Match three cumulants of each statistic where rows are dealt to both samples at random (Liu, Tang and Zhang 2009)."""
    total = len(centred_NF)
    factor = total**2 / ((total - 1) * rows * (total - rows))
    cumulants = np.zeros((3, len(found.detectors)))
    for place, detector in enumerate(found.detectors):
        part = centred_NF[:, detector.columns] * np.sqrt(detector.weights).astype(np.float32)
        side = part.T if part.shape[1] <= part.shape[0] else part
        gram = np.asarray(side @ side.T, np.float64) * (factor / total)
        square = gram @ gram
        cumulants[:, place] = np.trace(gram), 2 * np.trace(square), 8 * float((square * gram).sum())
    first, second, third = cumulants
    with np.errstate(divide="ignore", invalid="ignore"):
        shape = np.where(third > 0, 4 * second**3 / third**2, 1.0)
        scale = np.where(third > 0, third / (2 * second), 0.0)
    return Scale(shape, scale, first - shape * scale)
