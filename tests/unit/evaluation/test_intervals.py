"""Bootstrap intervals: deterministic, as wide as theory says, paired, and drawn by customer where rows depend."""

import numpy as np
import pytest

from evergreen.evaluation import intervals
from evergreen.evaluation.intervals import Interval, bootstrap, cluster_codes, resampled
from evergreen.evaluation.metrics import ratio, weighted_mean

LEVEL = 0.95


def mean_of(values):
    return lambda weights: weighted_mean(values, weights)


def test_each_resample_draws_as_many_rows_as_there_are():
    weights = np.concatenate(list(resampled(rows=50, resamples=200, seed=1)))
    assert weights.shape == (200, 50)
    assert (weights.sum(axis=1) == 50).all()
    assert abs(weights.mean(axis=0) - 1).max() < 0.4


def test_the_seed_decides_the_draws_and_the_size_of_the_chunks_does_not(monkeypatch):
    whole = np.concatenate(list(resampled(rows=31, resamples=100, seed=5)))
    monkeypatch.setattr(intervals, "CHUNK_CELLS", 31 * 7)
    np.testing.assert_array_equal(np.concatenate(list(resampled(rows=31, resamples=100, seed=5))), whole)
    assert not np.array_equal(np.concatenate(list(resampled(rows=31, resamples=100, seed=6))), whole)


def test_the_interval_of_a_mean_is_as_wide_as_its_standard_error_says():
    values = np.random.default_rng(0).normal(size=400)
    found = bootstrap({"mean": mean_of(values)}, rows=400, resamples=4000, level=LEVEL, seed=2).interval("mean")
    error = values.std() / np.sqrt(400)
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)


def test_intervals_of_an_accuracy_hold_the_truth_about_as_often_as_their_level_says():
    random, held = np.random.default_rng(3), 0
    for seed in range(200):
        values = (random.random(150) < 0.8).astype(float)
        found = bootstrap({"mean": mean_of(values)}, rows=150, resamples=400, level=0.9, seed=seed).interval("mean")
        held += found.low <= 0.8 <= found.high
    assert 0.83 <= held / 200 <= 0.96


def test_customers_are_drawn_whole():
    clusters = cluster_codes(["b", "a", "b", "c", "a", "b"])
    weights = np.concatenate(list(resampled(rows=6, resamples=50, seed=0, clusters=clusters)))
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 0], weights[:, 5])
    np.testing.assert_array_equal(weights[:, 1], weights[:, 4])
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()


def test_rows_that_repeat_their_customer_widen_the_interval():
    values = np.repeat(np.random.default_rng(1).random(60), 9)
    settings = {"rows": 540, "resamples": 2000, "level": LEVEL, "seed": 0}
    alone = bootstrap({"mean": mean_of(values)}, **settings).interval("mean")
    together = bootstrap({"mean": mean_of(values)}, **settings, clusters=np.repeat(np.arange(60), 9)).interval("mean")
    assert (together.high - together.low) / (alone.high - alone.low) == pytest.approx(3, rel=0.15)


def test_a_row_without_a_customer_stands_for_itself():
    np.testing.assert_array_equal(cluster_codes(["x", None, "x", "", None]), [0, 1, 0, 2, 3])


def test_a_paired_lead_is_tighter_than_two_separate_intervals():
    hard = np.random.default_rng(4).random(300)
    better, worse = (hard < 0.80).astype(float), (hard < 0.75).astype(float)
    result = bootstrap({"model": mean_of(better), "other": mean_of(worse)}, rows=300, resamples=2000, level=LEVEL, seed=0)
    lead = result.lead("model", "other")
    assert lead.value == pytest.approx(better.mean() - worse.mean())
    assert lead.low > 0
    assert result.interval("model").low < result.interval("other").high


def test_quantiles_agree_with_numpy_and_leave_undefined_draws_out():
    draws = np.random.default_rng(0).random((501, 3))
    draws[::5, 1] = np.nan
    found = intervals.intervals(np.full(3, 0.5), draws, level=0.8)
    for column, each in enumerate(found):
        kept = draws[:, column][np.isfinite(draws[:, column])]
        assert (each.low, each.high) == pytest.approx(tuple(np.quantile(kept, [0.1, 0.9])))


def test_a_figure_undefined_on_the_rows_or_in_most_draws_has_no_interval():
    rows = np.array([1.0, 0.0, 0.0])
    never = bootstrap({"rate": lambda weights: ratio(weights @ rows, weights @ np.zeros(3))}, rows=3, resamples=50, level=LEVEL, seed=0)
    assert np.isnan([never.interval("rate").value, never.interval("rate").low, never.interval("rate").high]).all()
    draws = np.full((10, 1), np.nan)
    draws[:4] = 0.5
    rare = intervals.intervals(np.array([0.5]), draws, level=LEVEL)[0]
    assert rare.value == 0.5
    assert np.isnan([rare.low, rare.high]).all()


def test_an_undefined_figure_is_null_in_reports():
    assert Interval(np.nan, np.nan, np.nan).report() is None


def test_a_report_rounds_to_six_decimals():
    assert Interval(1 / 3, 0.1234567, 0.5).report() == {"value": 0.333333, "low": 0.123457, "high": 0.5}
