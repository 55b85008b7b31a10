"""How sure a figure is: bootstrap percentile intervals of any statistic of weighted rows, all resamples at once.

A resample of n rows drawn with replacement is the same as a row of weights, each row's weight being how often it was
drawn. A statistic written as matrix products over weights (B, n) therefore costs B resamples one product, not B loops.
Knows nothing of what the statistics mean; see `metrics` for those.

Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 8 (other structures than independent
rows) and 13 (percentile intervals).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Statistic = Callable[[Floats], Floats]

CHUNK_CELLS = 4_000_000  # weights held at a time (32 MB), whatever the number of rows and resamples
MIN_DEFINED = 0.5  # share of the resamples in which a figure must be defined for its interval to be given
DIGITS = 6  # decimals in reports: beyond them the order of additions shows, which is another on another processor


@dataclass(frozen=True)
class Interval:
    """A figure on the rows themselves, and the ends of its interval; NaN where undefined.

    `low <= value <= high` mostly holds but need not: a figure that chance can only push up (a gap, a calibration error)
    is larger in most resamples than on the rows.
    """

    value: float
    low: float
    high: float

    def report(self) -> dict[str, float] | None:
        """Return the figure as reports hold it; None (null in JSON) where it is undefined."""
        if math.isnan(self.value):
            return None
        return {"value": round(self.value, DIGITS), "low": round(self.low, DIGITS), "high": round(self.high, DIGITS)}


def shown(figure: Mapping[str, float] | None) -> str:
    """Return a reported figure as a person reads it: `0.861 (0.825 to 0.897)`."""
    if figure is None:
        return "undefined"
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


@dataclass(frozen=True)
class Bootstrap:
    """Statistics by name: `points[name]` of shape (...) on the rows as they are, `draws[name]` of shape (B, ...)."""

    points: Mapping[str, Floats]
    draws: Mapping[str, Floats]
    level: float

    def interval(self, name: str) -> Interval:
        """Return the interval of a statistic that is one number."""
        return interval(self.points[name], self.draws[name], level=self.level)

    def intervals(self, name: str) -> list[Interval]:
        """Return the intervals of a statistic that is k numbers, in their order."""
        return intervals(self.points[name], self.draws[name], level=self.level)

    def lead(self, name: str, over: str) -> Interval:
        """Return the interval of one statistic minus another, paired: both are taken on the same resamples.

        Much tighter than the difference of two separate intervals when both find the same rows hard.
        """
        return interval(self.points[name] - self.points[over], self.draws[name] - self.draws[over], level=self.level)


def bootstrap(
    statistics: Mapping[str, Statistic], *, rows: int, resamples: int, level: float, seed: int, clusters: Integers | None = None
) -> Bootstrap:
    """Return each statistic on n rows and on B resamples of them.

    A statistic takes weights (b, n) and returns (b,) or (b, k). With `clusters` (n,), codes from 0 as `cluster_codes`
    gives them, whole clusters are drawn instead of rows: rows of one customer resemble each other, and drawing them one
    by one would make every interval too short. The same seed gives the same draws.
    """
    whole = np.ones((1, rows))
    points = {name: statistic(whole)[0] for name, statistic in statistics.items()}
    drawn: dict[str, list[Floats]] = {name: [] for name in statistics}
    with threadpool_limits(limits=1):  # so that sums are added up in the same order however many cores there are
        for weights_BN in resampled(rows=rows, resamples=resamples, seed=seed, clusters=clusters):
            for name, statistic in statistics.items():
                drawn[name].append(statistic(weights_BN))
    return Bootstrap(points, {name: np.concatenate(parts) for name, parts in drawn.items()}, level)


def resampled(*, rows: int, resamples: int, seed: int, clusters: Integers | None = None) -> Iterator[Floats]:
    """Yield the weights of B resamples in chunks (b, n): how often each row was drawn."""
    random = np.random.default_rng(seed)
    units = rows if clusters is None else int(clusters.max(initial=-1)) + 1
    chunk = max(1, CHUNK_CELLS // max(rows, 1))
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        drawn_BU = random.integers(units, size=(size, units)) + units * np.arange(size)[:, None]
        counts_BU = np.bincount(drawn_BU.ravel(), minlength=size * units).reshape(size, units).astype(np.float64)
        yield counts_BU if clusters is None else counts_BU[:, clusters]


def cluster_codes(names: Sequence[str | None]) -> Integers:
    """Return the code of each row's cluster (n,), from 0 in order of appearance; a row without a name stands for itself."""
    codes: dict[object, int] = {}
    keys = [name if isinstance(name, str) and name else row for row, name in enumerate(names)]
    return np.array([codes.setdefault(key, len(codes)) for key in keys], np.int64)


def interval(point: Floats | float, draws_B: Floats, *, level: float) -> Interval:
    """Return the percentile interval of one number from its draws (B,)."""
    return intervals(np.reshape(point, 1), draws_B[:, None], level=level)[0]


def intervals(points_K: Floats, draws_BK: Floats, *, level: float) -> list[Interval]:
    """Return the percentile interval of each of k numbers from their draws (B, k).

    Draws in which a number is undefined (NaN) are left out; where it is undefined on the rows, or in more than half of
    the draws, the interval is NaN. Percentile intervals of a share that is 0 or 1 on the rows have no width: read them
    beside the number of rows.
    """
    ordered_BK = np.sort(draws_BK, axis=0)  # NaN goes last
    defined_K = np.isfinite(ordered_BK).sum(axis=0)
    given_K = np.isfinite(points_K) & (defined_K >= MIN_DEFINED * len(draws_BK))
    ends = [np.where(given_K, _quantile(ordered_BK, defined_K, share), np.nan) for share in ((1 - level) / 2, (1 + level) / 2)]
    return [Interval(float(value), float(low), float(high)) for value, low, high in zip(points_K, *ends, strict=True)]


def _quantile(ordered_BK: Floats, defined_K: NDArray[np.int64], share: float) -> Floats:
    """Return the quantile of the first `defined_K` values of each column, linear between neighbours."""
    place_K = share * np.maximum(defined_K - 1, 0)
    below_K = np.floor(place_K).astype(np.int64)
    above_K = np.minimum(below_K + 1, np.maximum(defined_K - 1, 0))
    low_K, high_K = (np.take_along_axis(ordered_BK, row[None, :], axis=0)[0] for row in (below_K, above_K))
    return np.asarray(low_K + (place_K - below_K) * (high_K - low_K))
