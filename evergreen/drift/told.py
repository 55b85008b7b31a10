"""Groups and context that only some callers tell: compared among the rows that tell them. Who tells is no drift.

A caller who begins to tell a group, or one who stops, changes the share of rows that tell it, and nothing of the people or the texts.
Such a column therefore has a test of its own, in which rows without a value have no part:

- Which columns these are is read off both samples together (`partly`: some row, of whichever sample, lacks it). That does not depend on
  which row is whose, so the permutation test of all the other detectors stays exact; and it never sees these columns.
- Whether one of them is tested at all, and with how many rows on either side, depends on which rows of which sample tell it. Its
  permutations hold exactly that fixed: values change places among the rows that tell one, so that each p-value is exact given who told.
- These tests share one fixed part of the chance of a false alarm (SHARE) among all such columns, tested or not, and the other detectors
  keep the rest; so neither part knows how the other came out, and the sum of both is the bound.

Knows nothing of alarms and levels over time.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evergreen.data.records import MISSING_GROUP
from evergreen.drift.calibration import MIN_ROWS
from evergreen.drift.features import MIN_EXPECTED
from evergreen.drift.permutation import ENOUGH, EQUAL
from evergreen.drift.rows import Seen

SHARE = 0.2  # of a look's level, for all columns that some rows lack, where there is any
METHOD = "chi-squared, among those told"
FIRST, LARGEST = 256, 65_536  # permutations drawn at once, growing


@dataclass(frozen=True)
class Told:
    """What a column's test found. Without a p-value it was not made, and `note` says why; `drawn` are the permutations."""

    column: str
    statistic: float | None
    p_value: float | None
    note: str
    drawn: int = 0


def partly(before: Seen, now: Seen) -> list[str]:
    """Return the columns that some rows of either sample lack."""
    return [name for name in before.categories if not (_tells(before, name).all() and _tells(now, name).all())]


def compare_told(column: str, before: Seen, now: Seen, *, level: float, least: int, random: np.random.Generator) -> Told:
    """Compare the values of a column among the rows that tell it; at least `least` permutations, and as many as `level` needs."""
    first, second = (rows.categories[column][_tells(rows, column)].astype(str) for rows in (before, now))
    if not len(second):
        return Told(column, None, None, "not tested: no caller told it")
    who = f"told for {len(second):,} of {len(now):,} rows, {len(first):,} of {len(before):,} before"
    if min(len(first), len(second)) < MIN_ROWS:
        return Told(column, None, None, f"not tested: {who}; at least {MIN_ROWS} of each are needed")
    counts_2K = _counts(first, second)
    statistic, p_value, drawn = _permuted(counts_2K, max(least, int(np.ceil(2 / level))), random)
    return Told(column, statistic, p_value, who, drawn)


def _tells(rows: Seen, column: str) -> NDArray[np.bool_]:
    return np.asarray(rows.categories[column] != MISSING_GROUP, bool)


def _counts(first: NDArray[np.str_], second: NDArray[np.str_]) -> NDArray[np.int64]:
    """Return how often each sample has each value, shape (2, K); those too rare to compare are one."""
    found = [Counter(first.tolist()), Counter(second.tolist())]
    both = found[0] + found[1]
    smaller = min(len(first), len(second)) / both.total()
    common = [name for name in sorted(both) if both[name] * smaller >= MIN_EXPECTED]
    counts = [[counter[name] for name in common] for counter in found]
    rare = [counter.total() - sum(told) for counter, told in zip(found, counts, strict=True)]
    return np.array([[*told, rest] for told, rest in zip(counts, rare, strict=True)] if sum(rare) else counts, np.int64)


def _permuted(counts_2K: NDArray[np.int64], most: int, random: np.random.Generator) -> tuple[float, float, int]:
    """Return Pearson's chi-squared, its exact p-value by permutations (ended early as `permutation.judged` does), and how many."""
    both_K, (before, now) = counts_2K.sum(axis=0), counts_2K.sum(axis=1)
    expected_K = both_K * now / (before + now)

    def statistics(counts_BK: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(((counts_BK - expected_K) ** 2 / expected_K).sum(axis=-1) * (before + now) / before)

    observed, beaten, drawn, size = float(statistics(counts_2K[1])), 0, 0, FIRST
    while drawn < most:
        # Rows that change places at random leave one sample with counts of the multivariate hypergeometric distribution.
        found = statistics(random.multivariate_hypergeometric(both_K, int(now), size=min(size, most - drawn), method="marginals"))
        surprising = np.flatnonzero(found >= observed * (1 - EQUAL))
        if beaten + len(surprising) >= ENOUGH:
            drawn += int(surprising[ENOUGH - beaten - 1]) + 1
            return observed, ENOUGH / drawn, drawn
        beaten, drawn, size = beaten + len(surprising), drawn + len(found), min(2 * size, LARGEST)
    return observed, (1 + beaten) / (1 + drawn), drawn
