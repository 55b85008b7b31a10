"""Power: as simulated, as known, and said in words."""

import numpy as np
import pytest

from evergreen.evaluation.paired import score_interval
from evergreen.evaluation.power import chance, rows_needed, words


@pytest.mark.parametrize(("rows", "share"), [(500, 0.24), (1000, 0.36), (2000, 0.58), (5000, 0.90)])
def test_a_true_tie_passes_as_often_as_the_normal_distribution_says(rows, share):
    assert chance(0.0, rows=rows, disagreement=0.06, margin=0.01, level=0.90) == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("truth", [-0.05, 0.0, 0.05])
def test_the_chance_is_that_of_simulated_trials(truth):
    rows, apart, margin = 120, 0.15, 0.05
    shares = [(apart + truth) / 2, (apart - truth) / 2, 1 - apart]
    trials = np.random.default_rng(5).multinomial(rows, shares, size=1500)
    passed = []
    for wins, losses, _ in trials:
        mean = (wins - losses) / rows
        plain = mean - 1.959964 * np.sqrt(((wins + losses) / rows - mean**2) / rows)
        passed.append(min(plain, score_interval(int(wins), int(losses), rows, level=0.95).low) >= -margin)
    assert chance(truth, rows=rows, disagreement=apart, margin=margin, level=0.95) == pytest.approx(np.mean(passed), abs=0.04)


def test_at_the_margin_itself_hardly_anyone_passes():
    for rows in (20, 100, 1000):
        assert chance(-0.02, rows=rows, disagreement=0.1, margin=0.02, level=0.95) <= 0.03


def test_many_rows_are_reckoned_without_weighing_every_count():
    exact = chance(0.0, rows=19_000, disagreement=0.1, margin=0.006, level=0.95)
    assert chance(0.0, rows=20_100, disagreement=0.1, margin=0.006, level=0.95) == pytest.approx(exact, abs=0.04)
    assert chance(0.0, rows=10**7, disagreement=0.1, margin=0.02, level=0.95) == pytest.approx(1.0)


def test_so_many_rows_as_are_asked_for_let_a_tie_pass():
    needed = rows_needed(disagreement=0.12, margin=0.02, level=0.95)
    assert chance(0.0, rows=needed, disagreement=0.12, margin=0.02, level=0.95) == pytest.approx(0.8, abs=0.02)
    assert rows_needed(disagreement=0.12, margin=0.0, level=0.95) is None


def test_the_sentence_says_what_is_missing_only_where_something_is():
    small = words({"tie": 0.24, "gain": 0.61, "loss": 0.004}, rows=375, noun="new row", margin=0.02, needed=2345)
    assert small == (
        "With 375 new rows a true tie passes in 24% of cases, a gain of 2 points in 61%, a loss of 2 points in under 1%; "
        "for a true tie to pass in 80% it takes about 2,300."
    )
    assert words({"tie": 0.997, "gain": 1.0, "loss": 0.02}, rows=1, noun="row", margin=0.02, needed=1) == (
        "With 1 row a true tie passes in over 99% of cases, a gain of 2 points in 100%, a loss of 2 points in 2%."
    )
    assert words({"tie": 0.02}, rows=9, noun="row", margin=0.0, needed=None) == "With 9 rows a true tie passes in 2% of cases."
