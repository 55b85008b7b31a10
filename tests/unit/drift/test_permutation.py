"""Permutations: p-values of many detectors at once are what they say, far out in the tail too."""

import numpy as np
import pytest

from evergreen.drift.features import Recipe
from evergreen.drift.permutation import ENOUGH, Comparison, judged
from evergreen.drift.rows import pool
from tests.drift_factories import window
from tests.factories import LABELS


def made(first: int, second: int, seed: int, **changes: float) -> tuple[Recipe, Comparison]:
    both = pool([window(first, seed), window(second, seed + 1000, **changes)])
    recipe = Recipe(both, min(first, second), LABELS, 7)
    return recipe, Comparison(recipe.matrix(both), recipe.detectors, second)


def test_p_values_of_unchanged_rows_are_uniform() -> None:
    p_values = [judged(made(60, 30, seed)[1], level=0.01, least=200, random=np.random.default_rng(seed)).p_value for seed in range(150)]
    for level in (0.05, 0.2, 0.5):
        assert abs(np.mean(np.array(p_values) <= level) - level) < 4 * np.sqrt(level * (1 - level) / 150) + 0.01


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
