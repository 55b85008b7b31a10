"""Paired counts: against published definitions, against brute force, and where hardly anything is known."""

import numpy as np
import pytest
from scipy.stats import binom

from evergreen.evaluation.paired import mcnemar, score, score_interval


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (5, 5), (12, 3), (3, 12), (40, 61)])
def test_mcnemar_counts_every_outcome_that_is_no_likelier(wins, losses):
    pairs = wins + losses
    chances = binom.pmf(np.arange(pairs + 1), pairs, 0.5)
    assert mcnemar(wins, losses) == pytest.approx(min(1.0, chances[chances <= chances[wins] * (1 + 1e-9)].sum()))


def test_the_ends_of_the_score_interval_are_where_the_score_is_at_its_quantile():
    found = score_interval(12, 14, 160, level=0.95)
    assert score(12, 14, 160, found.low) == pytest.approx(1.959964, abs=1e-5)
    assert score(12, 14, 160, found.high) == pytest.approx(-1.959964, abs=1e-5)


@pytest.mark.parametrize("rows", [5, 20, 375])
def test_without_any_disagreement_the_interval_keeps_its_width(rows):
    found = score_interval(0, 0, rows, level=0.95)
    z2 = 1.959964**2
    assert (found.value, found.low, found.high) == pytest.approx((0.0, -z2 / (rows + z2), z2 / (rows + z2)), abs=1e-5)


@pytest.mark.parametrize(("wins", "losses", "rows"), [(20, 0, 20), (0, 20, 20), (1, 0, 1), (7, 0, 40), (0, 7, 40)])
def test_extreme_counts_have_an_interval_that_holds_their_value(wins, losses, rows):
    found = score_interval(wins, losses, rows, level=0.95)
    assert -1 <= found.low <= found.value + 1e-6
    assert found.value - 1e-6 <= found.high <= 1


def test_exchanging_both_turns_the_interval_round():
    found, other = score_interval(9, 4, 80, level=0.9), score_interval(4, 9, 80, level=0.9)
    assert (found.low, found.high) == pytest.approx((-other.high, -other.low), abs=1e-6)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    random = np.random.default_rng(3)
    counts = random.multinomial(60, [0.08, 0.05, 0.87], size=2000)
    inside = [abs(score(wins, losses, 60, 0.03)) <= 1.959964 for wins, losses, _ in counts]
    assert 0.93 <= np.mean(inside) <= 0.975
