import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.data.stratification import deal

SHARES = np.array([0.62, 0.07, 0.06, 0.25])


def dealt(labels: np.ndarray, groups: np.ndarray, seed: int = 17, shares: np.ndarray = SHARES) -> np.ndarray:
    return deal(labels.astype(np.int64), groups.astype(np.int64), shares=shares, seed=seed)


@pytest.mark.parametrize("rows_per_label", [20, 37, 150])
def test_single_rows_meet_sizes_and_label_shares_within_rounding(rows_per_label: int) -> None:
    labels = np.repeat(np.arange(8), rows_per_label)
    split = dealt(labels, np.arange(len(labels)))
    assert np.abs(np.bincount(split) - SHARES * len(labels)).max() <= 1
    for label in range(8):
        assert np.abs(np.bincount(split[labels == label], minlength=4) - SHARES * rows_per_label).max() < 1.5


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 12), st.integers(1, 6))
def test_groups_stay_whole_and_sizes_come_within_a_point(seed: int, labels: int, largest: int) -> None:
    random = np.random.default_rng(seed)
    sizes = random.integers(1, largest + 1, 900)
    groups = np.repeat(np.arange(900), sizes)
    label = random.choice(labels, len(groups), p=random.dirichlet(np.full(labels, 3.0)))
    split = dealt(label, groups, seed)
    assert all(len(set(split[groups == group])) == 1 for group in range(0, 900, 7))
    assert np.abs(np.bincount(split, minlength=4) / len(groups) - SHARES).max() < 0.011


def test_every_split_holds_every_label_that_has_groups_enough() -> None:
    labels = np.concatenate([np.zeros(300), np.ones(5), np.full(4, 2)]).astype(int)
    split = dealt(labels, np.arange(len(labels)))
    assert all(set(split[labels == label]) == {0, 1, 2, 3} for label in range(3))


def test_a_rare_label_in_groups_of_several_rows_reaches_every_split() -> None:
    labels = np.concatenate([np.zeros(400), np.ones(12)]).astype(int)
    groups = np.concatenate([np.arange(400), 400 + np.repeat(np.arange(4), 3)])
    assert set(dealt(labels, groups)[labels == 1]) == {0, 1, 2, 3}


def test_the_seed_decides_and_nothing_else() -> None:
    labels, groups = np.repeat(np.arange(4), 50), np.arange(200) // 2
    assert np.array_equal(dealt(labels, groups, 1), dealt(labels, groups, 1))
    assert not np.array_equal(dealt(labels, groups, 1), dealt(labels, groups, 2))


def test_one_big_group_goes_where_there_is_room() -> None:
    labels = np.tile(np.arange(2), 50)
    groups = np.concatenate([np.zeros(50), 1 + np.arange(50)]).astype(int)
    assert set(dealt(labels, groups)[groups == 0]) == {0}
