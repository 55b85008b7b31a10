import numpy as np
import pytest
from scipy import stats

from evergreen.drift.two_sample import g_test, kolmogorov_smirnov, mean_embedding, softmax_shift

RANDOM = np.random.default_rng


def cloud(rows: int, seed: int, shift: float = 0.0, size: int = 16) -> np.ndarray:
    points = RANDOM(seed).standard_normal((rows, size))
    points[:, 0] += shift
    return points


def test_kolmogorov_smirnov_agrees_with_scipy() -> None:
    first, second = RANDOM(0).normal(size=300), RANDOM(1).normal(0.2, size=500)
    ours, theirs = kolmogorov_smirnov(first, second), stats.ks_2samp(first, second)
    assert ours.statistic == pytest.approx(theirs.statistic)
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=0.05)
    assert ours.note == "higher on average"


def test_equal_and_constant_samples_do_not_differ() -> None:
    for values in (np.zeros(50), np.arange(50.0)):
        outcome = kolmogorov_smirnov(values, values.copy())
        assert (outcome.statistic, outcome.p_value, outcome.note) == (0.0, 1.0, None)


def test_g_test_agrees_with_scipy_where_nothing_is_rare() -> None:
    first, second = RANDOM(0).choice(list("abc"), 300), RANDOM(1).choice(list("abc"), 400, p=[0.4, 0.3, 0.3])
    counts = [[int((side == name).sum()) for name in "abc"] for side in (first, second)]
    theirs = stats.chi2_contingency(counts, correction=False, lambda_="log-likelihood")
    ours = g_test(first, second)
    assert ours.statistic == pytest.approx(theirs.statistic)
    assert ours.p_value == pytest.approx(theirs.pvalue)


def test_a_handful_of_new_rare_categories_is_no_alarm() -> None:
    common = np.array(["a"] * 150 + ["b"] * 150)
    assert g_test(common, np.concatenate([common, ["new 1", "new 2", "new 3"]])).p_value > 0.05


def test_a_new_category_that_is_frequent_is_an_alarm_and_is_named() -> None:
    outcome = g_test(np.array(["a"] * 100), np.array(["a"] * 70 + ["b"] * 30))
    assert outcome.p_value < 1e-6
    assert outcome.note == "a: 100.0% to 70.0%"


def test_one_category_on_both_sides_does_not_differ() -> None:
    assert g_test(np.array(["a"] * 40), np.array(["a"] * 30)).p_value == 1.0


@pytest.mark.parametrize("test", [kolmogorov_smirnov, g_test])
def test_false_alarms_keep_to_their_level(test) -> None:
    random = RANDOM(5)
    alarms = sum(test(random.integers(0, 12, 150), random.integers(0, 12, 200)).p_value < 0.05 for _ in range(400))
    assert alarms / 400 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)


def test_embedding_test_keeps_its_level() -> None:
    p_values = [mean_embedding(cloud(60, 2 * seed), cloud(90, 2 * seed + 1), smallest=0.05, seed=seed).p_value for seed in range(100)]
    assert np.mean(np.array(p_values) < 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 100)


def test_embedding_test_sees_a_shift_down_to_the_corrected_level() -> None:
    assert mean_embedding(cloud(300, 0), cloud(200, 1, shift=1.0), smallest=0.0006, seed=0).p_value < 0.0006


def test_embedding_test_is_the_same_for_the_same_seed_only() -> None:
    first, second = cloud(100, 0), cloud(80, 1)
    once, again, other = (mean_embedding(first, second, smallest=0.01, seed=seed) for seed in (3, 3, 4))
    assert once == again
    assert once.statistic != other.statistic


def test_identical_embeddings_everywhere_do_not_alarm() -> None:
    assert mean_embedding(np.ones((30, 4)), np.ones((40, 4)), smallest=0.01, seed=0).p_value == 1.0


def test_softmax_shift_names_the_label_that_moved() -> None:
    before = RANDOM(0).dirichlet([1, 1, 1], size=400)
    now = before.copy()
    now[:, 1] = np.minimum(1, now[:, 1] + 0.3)
    outcome = softmax_shift(before, now, ["a", "b", "c"])
    assert outcome.p_value < 1e-6
    assert outcome.note == "most: b, higher on average"
    assert softmax_shift(before, before, ["a", "b", "c"]).p_value == 1.0


@pytest.mark.parametrize("test", [
    kolmogorov_smirnov,
    g_test,
    lambda first, second: mean_embedding(first[:, None], second[:, None], smallest=0.01, seed=0),
    lambda first, second: softmax_shift(first[:, None], second[:, None], ["a"]),
])  # fmt: skip
@pytest.mark.parametrize("rows", [0, 19])
def test_too_few_rows_give_no_p_value_and_say_so(test, rows: int) -> None:
    outcome = test(np.zeros(100), np.zeros(rows))
    assert outcome.p_value is None
    assert outcome.note == f"too few rows to test ({rows}; at least 20 are needed)"
