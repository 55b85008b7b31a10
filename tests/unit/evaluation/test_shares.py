"""Intervals of shares and of their difference agree with the published examples, and cover what they say."""

import math

import numpy as np
import pytest

from evergreen.evaluation.shares import difference, share


def test_wilson_agrees_with_the_published_example() -> None:
    found = share(81, 263, level=0.95)  # Newcombe 1998, Two-sided confidence intervals for the single proportion
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)


def test_newcombe_agrees_with_the_published_example() -> None:
    found = difference(56, 70, 48, 80, level=0.95)  # Newcombe 1998, method 10, first contrast
    assert (round(found.low, 4), round(found.high, 4)) == (0.0524, 0.3339)


@pytest.mark.parametrize("right", [0, 20])
def test_a_share_at_the_end_still_has_an_interval(right: int) -> None:
    found = share(right, 20, level=0.95)
    assert 0 <= found.low < found.high <= 1


def test_without_rows_there_is_no_figure() -> None:
    assert math.isnan(share(0, 0, level=0.95).value)
    assert difference(3, 4, 0, 0, level=0.95).report() is None


def test_the_difference_is_covered_as_often_as_the_level_says() -> None:
    random = np.random.default_rng(7)
    before, now = random.binomial(375, 0.84, 2000), random.binomial(120, 0.78, 2000)
    found = [difference(first, 375, second, 120, level=0.95) for first, second in zip(before, now, strict=True)]
    covered = np.mean([one.low <= 0.06 <= one.high for one in found])
    assert 0.935 <= covered <= 0.97
