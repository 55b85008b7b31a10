"""Groups that some callers tell: exact p-values among those who do, whoever they are."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import hypergeom

from evergreen.drift.permutation import ENOUGH
from evergreen.drift.rows import Seen
from evergreen.drift.told import compare_told, partly
from tests.drift_factories import window

NAME = "group_age_band"
BARE = {size: window(size, 1) for size in (60, 80)}


def rows(**told: int) -> Seen:
    """Rows of which so many tell each value."""
    values = [name for name, number in told.items() for _ in range(number)]
    return replace(window(len(values), 1), categories={NAME: np.array(values, dtype=object)})


def test_the_p_value_is_fishers_among_those_who_told() -> None:
    before, now = rows(young=90, old=110, missing=400), rows(young=36, old=24, missing=7)
    by_chance, counts = hypergeom(260, 126, 60), np.arange(61)
    exact = by_chance.pmf(counts)[np.abs(counts - by_chance.mean()) >= 36 - by_chance.mean() - 1e-9].sum()
    found = [compare_told(NAME, before, now, level=1e-4, least=200, random=np.random.default_rng(seed)).p_value for seed in range(30)]
    assert np.mean(found) == pytest.approx(exact, rel=4 / np.sqrt(30 * ENOUGH))


def test_who_tells_makes_no_false_alarms_more_frequent() -> None:
    """2,000 pairs where 1 in 6 told before and all do now: the shares of p-values are at most what they say, and not far below."""
    random, p_values = np.random.default_rng(3), []
    for _ in range(2000):
        before, now = (random.choice(["a", "b", "c"], size, p=[0.5, 0.3, 0.2]) for size in (60, 80))
        pair = [replace(BARE[len(told)], categories={NAME: told.astype(object)}) for told in (before, now)]
        p_values.append(compare_told(NAME, *pair, level=0.01, least=200, random=random).p_value)
    for level in (0.01, 0.05, 0.2):
        assert np.mean(np.array(p_values) <= level) == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 2000))


def test_which_columns_stand_apart_does_not_depend_on_which_sample_lacks_them() -> None:
    whole, lacking = rows(young=30, old=30), rows(young=30, missing=1)
    assert (partly(whole, lacking), partly(lacking, whole), partly(whole, whole)) == ([NAME], [NAME], [])


def test_values_too_rare_to_compare_are_one() -> None:
    many = {f"v{number}": 1 for number in range(40)}
    found = compare_told(NAME, rows(**many), rows(missing=3, **many), level=0.01, least=200, random=np.random.default_rng(1))
    assert (found.statistic, found.p_value) == (0.0, 1.0)
