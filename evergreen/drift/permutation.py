"""Permutation tests of many detectors at once: how surprising the least likely of them is, where both samples come from one source.

An analytic p-value (the tail of a weighted sum of chi-squareds, three cumulants matched) puts all detectors on one scale; the
permutations of the rows then say how often the smallest of them is as small by chance, correlated as the detectors are (Westfall and
Young 1993). Drawing ends early where the answer is plain (Besag and Clifford 1991). Knows nothing of what the features mean.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc

from evergreen.drift.features import Detector

ENOUGH = 20  # permutations as surprising as what was seen, after which the p-value is known well enough
FIRST, LARGEST = 64, 1024  # permutations drawn at once, growing
TINY = 1e-300
EQUAL = 1e-5  # relative difference of two statistics that is rounding: the rows of equal outcomes are summed in another order
NOISE = 1e-5  # largest deviation from its mean, of numbers about 1, that is rounding

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """The null distributions of D detectors: shifted gammas that match three cumulants (Liu, Tang and Zhang 2009)."""

    shape_D: Doubles
    scale_D: Doubles
    shift_D: Doubles

    @classmethod
    def of(cls, traces_3D: Doubles, factor: float) -> Self:
        """Match the cumulants of statistics whose differences of means have `factor` times the rows' covariance."""
        first, second, third = traces_3D * np.array([[factor], [2 * factor**2], [8 * factor**3]])
        with np.errstate(divide="ignore", invalid="ignore"):
            shape = np.where(third > 0, 4 * second**3 / third**2, 1.0)
            scale = np.where(third > 0, third / (2 * second), 0.0)
        return cls(shape, scale, first - shape * scale)

    def tail(self, statistics: Doubles) -> Doubles:
        """Return the analytic p-values of statistics, shape (..., D)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = np.maximum(0, (statistics - self.shift_D) / self.scale_D)
            values = gammaincc(self.shape_D, scaled)
        constant = np.where(statistics > NOISE**2, 0.0, 1.0)  # what never varied, and does now, is as surprising as can be
        return np.asarray(np.maximum(np.where(self.scale_D > 0, values, constant), TINY))


@dataclass(frozen=True)
class Judged:
    """What the permutations say. `p_value` is that of the smallest; `adjusted_D` those of each detector among all of them."""

    p_value: float
    statistics_D: Doubles
    analytic_D: Doubles
    adjusted_D: Doubles
    drawn: int


class Comparison:
    """The features of two samples, ready to be permuted: the last `rows` rows are one sample, the others the other."""

    def __init__(self, matrix_NF: NDArray[np.float32], detectors: Sequence[Detector], rows: int) -> None:
        centred_NF = matrix_NF - matrix_NF.mean(axis=0, dtype=np.float64).astype(np.float32)
        centred_NF[:, np.abs(centred_NF).max(axis=0) < NOISE] = 0  # what never varies must not be tested by its rounding
        self._matrix_NF = centred_NF
        self._total, self._rows = len(matrix_NF), rows
        self._weights_FD = weights(detectors)
        self.scale = Scale.of(cumulants(centred_NF, detectors), self._total**2 / ((self._total - 1) * rows * (self._total - rows)))

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
    reached = compared.scale.tail(statistics * (1 - EQUAL))  # an outcome that is equal counts as one that is as surprising
    smallest, most = reached.min(), max(least, int(np.ceil(2 / level)))
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
    adjusted = (1 + np.searchsorted(ordered, reached, side="right")) / (1 + len(ordered))
    return Judged(p_value, statistics, analytic, np.maximum(np.minimum(adjusted, 1), p_value), drawn)


def weights(detectors: Sequence[Detector]) -> Doubles:
    """Return the weight of each feature in each detector, shape (F, D)."""
    weights_FD = np.zeros((max(detector.columns.stop for detector in detectors), len(detectors)))
    for place, detector in enumerate(detectors):
        weights_FD[detector.columns, place] = detector.weights
    return weights_FD


def cumulants(centred_NF: NDArray[np.float32], detectors: Sequence[Detector]) -> Doubles:
    """Return traces of the first three powers of each detector's weighted covariance, shape (3, D)."""
    traces = np.zeros((3, len(detectors)))
    for place, detector in enumerate(detectors):
        part = centred_NF[:, detector.columns] * np.sqrt(detector.weights).astype(np.float32)
        side = part.T if part.shape[1] <= part.shape[0] else part
        gram = side @ side.T / len(centred_NF)
        traces[:, place] = np.trace(gram, dtype=np.float64), float(np.vdot(gram, gram)), float(np.vdot(gram @ gram, gram))
    return traces
