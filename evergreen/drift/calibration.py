"""Calibration of the detectors on the reference: how small the smallest of their p-values is where nothing has changed.

Windows of several sizes are drawn from the reference's own rows and compared with the rest of them. The detectors see the same rows
and agree with one another, so many of them count for fewer tests than there are: the calibration says for how many. It gives a quiet
window its p-value without further ado; what may be an alarm is tested by permutations.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from evergreen.drift.features import Recipe
from evergreen.drift.permutation import Comparison, Scale, cumulants, weights
from evergreen.drift.rows import Seen

SIZES = (50, 100, 200, 400, 800, 1600)  # rows of a window; those that are at most half of the reference
REDRAWS = 1000  # windows drawn of each size
CHANCES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0)
MIN_ROWS = 20  # of a sample, under which nothing is tested


@dataclass(frozen=True)
class Size:
    """For windows of `rows` rows: the smallest p-value of all detectors lies at or below `smallest` with the chances of CHANCES."""

    rows: int
    smallest: list[float]


@dataclass(frozen=True)
class Calibration:
    """What was measured at each size, in rising order; none where the reference is too small."""

    detectors: int
    redraws: int
    sizes: list[Size]

    @classmethod
    def of(cls, told: dict[str, Any]) -> Self:
        """Take a calibration from what `told` gave."""
        return cls(told["detectors"], told["redraws"], [Size(size["rows"], size["smallest"]) for size in told["sizes"]])

    def told(self) -> dict[str, Any]:
        """Return the calibration for a report."""
        return {
            "detectors": self.detectors,
            "redraws": self.redraws,
            "chances": list(CHANCES),
            "sizes": [{"rows": size.rows, "smallest": size.smallest, "equivalent_tests": _equivalent(size)} for size in self.sizes],
        }

    def p_value(self, smallest: float, rows: int) -> float | None:
        """Return the chance that the smallest p-value of a window of about `rows` rows is at most this; None if not calibrated.

        Between the measured chances it is interpolated; below the least of them it is that one.
        """
        if not self.sizes:
            return None
        nearest = min(self.sizes, key=lambda size: abs(math.log(size.rows / rows)))
        return float(np.exp(np.interp(math.log(smallest), np.log(nearest.smallest), np.log(CHANCES))))


class FirstLook:
    """The detectors fitted on the reference alone: a quick look at a window, whose p-values the calibration puts into words.

    Not exact, since the window had no part in the fit; so nothing alarms by it.
    """

    def __init__(self, rows: Seen, labels: Sequence[str], window: int, seed: int) -> None:
        self._recipe = Recipe(rows, window, labels, seed)
        matrix_NF = self._recipe.matrix(rows)
        self._mean_F = matrix_NF.mean(axis=0, dtype=np.float64)
        self._rows = len(rows)
        self._traces = cumulants(matrix_NF - np.asarray(self._mean_F, np.float32), self._recipe.detectors)
        self._weights_FD = weights(self._recipe.detectors)
        self.detectors = self._recipe.detectors

    def at(self, window: Seen) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return statistic and analytic p-value of each detector, shapes (D,)."""
        gap_F = self._recipe.matrix(window).mean(axis=0, dtype=np.float64) - self._mean_F
        statistics = np.asarray(gap_F**2 @ self._weights_FD)
        return statistics, Scale.of(self._traces, 1 / len(window) + 1 / self._rows).tail(statistics)


def calibrate(rows: Seen, labels: Sequence[str], seed: int) -> Calibration:
    """Draw windows from the reference's rows; deterministic for a seed."""
    possible = [size for size in SIZES if size <= len(rows) // 2] or [len(rows) // 2]
    found: list[Size] = []
    detectors = 0
    for size in possible if len(rows) >= 2 * MIN_ROWS else []:
        recipe = Recipe(rows, size, labels, seed)
        detectors = len(recipe.detectors)
        random = np.random.default_rng([seed, size])
        compared = Comparison(recipe.matrix(rows), recipe.detectors, size)
        minima = np.concatenate([values.min(axis=1) for values in compared.drawn(random, REDRAWS)])
        quantiles = np.maximum.accumulate(np.quantile(minima, CHANCES, method="higher"))
        found.append(Size(size, [float(f"{value:.6g}") for value in quantiles]))
    return Calibration(detectors, REDRAWS, found)


def _equivalent(size: Size) -> float:
    """Return how many independent tests would have a smallest p-value as small in 1 of 20 windows."""
    return round(math.log1p(-0.05) / math.log1p(-size.smallest[CHANCES.index(0.05)]), 1)
