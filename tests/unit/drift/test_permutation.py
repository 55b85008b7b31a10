"""Permutations: p-values of many detectors at once are what they say, far out in the tail too."""

import numpy as np
import pytest
from scipy.stats import hypergeom

from evergreen.drift.features import Detector, Recipe
from evergreen.drift.permutation import ENOUGH, Comparison, judged
from evergreen.drift.rows import pool
from tests.drift_factories import window
from tests.factories import LABELS


def made(first: int, second: int, seed: int, **changes: float) -> tuple[Recipe, Comparison]:
    both = pool([window(first, seed), window(second, seed + 1000, **changes)])
    recipe = Recipe(both, min(first, second), LABELS, 7)
    return recipe, Comparison(recipe.matrix(both), recipe.detectors, second)


def binary(first: int, ones: int, second: int, others: int) -> Comparison:
    """Two samples of a feature that is 0 or 1: `ones` of the `first` rows have it, `others` of the `second`."""
    column = np.concatenate([np.arange(first) < ones, np.arange(second) < others]).astype(np.float32)
    share = column.mean()
    detector = Detector("x", "group", "chi-squared", slice(0, 2), np.array([1 / share, 1 / (1 - share)]))
    return Comparison(np.stack([column, 1 - column], axis=1), [detector], second)


@pytest.mark.parametrize(
    ("first", "ones", "second", "others"), [(100, 30, 100, 53), (100, 20, 100, 40), (100, 25, 100, 46), (200, 50, 60, 28)]
)
def test_p_values_of_counts_are_the_exact_ones_with_every_tie_counted(first: int, ones: int, second: int, others: int) -> None:
    by_chance, counts = hypergeom(first + second, ones + others, second), np.arange(second + 1)
    exact = by_chance.pmf(counts)[np.abs(counts - by_chance.mean()) >= abs(others - by_chance.mean()) - 1e-9].sum()
    told = binary(first, ones, second, others)
    found = [judged(told, level=2e-5, least=200, random=np.random.default_rng(seed)) for seed in range(25)]
    assert 1e-3 < exact < 5e-3 and all(one.drawn < 100_000 for one in found)  # so each p-value is of ENOUGH, its error 1 in 5
    assert np.mean([one.p_value for one in found]) == pytest.approx(exact, rel=4 / np.sqrt(25 * ENOUGH))


def test_p_values_of_unchanged_rows_are_uniform_in_the_tail_too() -> None:
    """2,000 pairs of samples, of three features that hang together: at each level as many p-values as it says, give or take 4 errors."""
    random = np.random.default_rng(5)
    p_values = []
    for _ in range(2000):
        rows = random.standard_normal((50, 3)).astype(np.float32)
        rows[:, 1] += rows[:, 0]
        detectors = [Detector("x", "words", "sum", slice(place, place + 1), np.ones(1)) for place in range(3)]
        p_values.append(judged(Comparison(rows, detectors, 20), level=0.01, least=200, random=random).p_value)
    for level in (0.01, 0.05, 0.2, 0.5):
        assert np.mean(np.array(p_values) <= level) == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 2000))


def test_all_detectors_together_are_as_surprising_as_they_say() -> None:
    p_values = [judged(made(60, 30, seed)[1], level=0.01, least=200, random=np.random.default_rng(seed)).p_value for seed in range(60)]
    for level in (0.2, 0.5):
        assert np.mean(np.array(p_values) <= level) == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 60))


def test_analytic_p_values_agree_with_permutations_for_every_detector() -> None:
    found, compared = made(150, 60, 3)
    tails = np.concatenate(list(compared.drawn(np.random.default_rng(1), 4000)))
    for place, detector in enumerate(found.detectors):
        if len(np.unique(tails[:, place])) > 100:  # of few values there are few different statistics
            assert np.mean(tails[:, place] <= 0.05) == pytest.approx(0.05, abs=0.02), detector.name


def test_drawing_ends_early_where_nothing_is_surprising_and_never_before_the_level_can_be_told() -> None:
    quiet = judged(made(100, 50, 5)[1], level=1e-3, least=200, random=np.random.default_rng(1))
    assert quiet.drawn < 1000 and quiet.p_value == pytest.approx(ENOUGH / quiet.drawn)
    loud = judged(made(100, 50, 5, shift=1.5)[1], level=1e-3, least=200, random=np.random.default_rng(1))
    assert loud.drawn == 2000 and loud.p_value == 1 / 2001


def test_no_detector_is_more_surprising_than_all_of_them_together() -> None:
    result = judged(made(80, 40, 8, shift=0.5)[1], level=0.01, least=300, random=np.random.default_rng(1))
    assert result.adjusted_D.min() == pytest.approx(result.p_value, abs=0.01)
    assert (result.adjusted_D >= result.p_value).all() and (result.adjusted_D <= 1).all()


def test_which_sample_comes_first_makes_no_difference() -> None:
    parts = [window(70, 2), window(40, 1002)]
    found = []
    for order in (parts, parts[::-1]):
        recipe = Recipe(pool(order), 40, LABELS, 7)
        found.append(Comparison(recipe.matrix(pool(order)), recipe.detectors, len(order[1])).observed())
    np.testing.assert_allclose(*found, rtol=1e-4)
