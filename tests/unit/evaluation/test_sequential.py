"""Confidence sequences: honest at every look, whatever the world does meanwhile, and tight enough to be of use."""

from math import isnan

import numpy as np
import pytest

from evergreen.evaluation.sequential import (
    paired_bounds,
    paired_difference,
    paired_evidence,
    share,
    share_bounds,
    share_evidence,
    unpaired_bounds,
    unpaired_difference,
    unpaired_evidence,
    verdict,
)

RUNS, LOOKS, LEVEL = 400, 1000, 0.9
LIMIT = -np.log1p(-LEVEL)
MOST = (1 - LEVEL) + 2.3 * np.sqrt(LEVEL * (1 - LEVEL) / RUNS)  # exceeded by chance in 1 of 100 tests, were the level only just kept


def paired(difference, disagreement=0.12, *, seed, runs=RUNS, looks=LOOKS):
    """Outcomes (runs, looks) of two versions that disagree on this share of the requests; `difference` may vary with the look."""
    luck = np.random.default_rng(seed).random((runs, looks))
    wins = (disagreement + np.broadcast_to(difference, looks)) / 2
    return np.where(luck < wins, 1, np.where(luck < disagreement, -1, 0))


def counts(outcomes):
    return np.cumsum(outcomes > 0, axis=1), np.cumsum(outcomes < 0, axis=1), np.arange(1, outcomes.shape[1] + 1)


def missed(evidence):
    """Return the share of runs in which the truth was ruled out at any look."""
    return float((evidence >= LIMIT).any(axis=1).mean())


@pytest.mark.parametrize(("difference", "disagreement"), [(0.0, 0.12), (0.08, 0.12), (-0.03, 0.4), (0.0, 0.01)])
def test_a_paired_difference_is_missed_at_any_look_no_more_often_than_allowed(difference, disagreement) -> None:
    outcomes = paired(difference, disagreement, seed=1)
    assert missed(paired_evidence(*counts(outcomes), against=difference)) <= MOST


def test_a_repeated_fixed_interval_would_have_failed_this_test() -> None:
    wins, losses, rows = counts(paired(0.0, seed=1))
    naive = 1.645 * np.sqrt(np.maximum(wins + losses, 1)) / rows
    assert (np.abs((wins - losses) / rows) > naive)[:, 30:].any(axis=1).mean() > 3 * MOST


@pytest.mark.parametrize("world", ["turns", "swings"])
def test_the_average_so_far_is_covered_where_the_difference_drifts(world) -> None:
    place = np.arange(LOOKS)
    difference = np.where(place < 300, 0.1, -0.1) if world == "turns" else 0.1 * np.sin(place / 40)
    truth = np.cumsum(difference) / (place + 1)
    assert missed(paired_evidence(*counts(paired(difference, seed=2)), against=truth)) <= MOST


def test_the_average_so_far_is_covered_in_a_world_that_turns_against_the_leader() -> None:
    random, level_R, truth_R = np.random.default_rng(3), np.zeros(RUNS), np.zeros(RUNS)
    wins_R, losses_R, ever_R = np.zeros(RUNS), np.zeros(RUNS), np.zeros(RUNS, bool)
    for look in range(1, LOOKS + 1):
        mean_R = -0.1 * np.sign(level_R)  # depends on what came before
        luck_R = random.random(RUNS)
        win_R, loss_R = luck_R < (0.2 + mean_R) / 2, luck_R > 1 - (0.2 - mean_R) / 2
        wins_R, losses_R, truth_R = wins_R + win_R, losses_R + loss_R, truth_R + mean_R
        level_R = wins_R - losses_R
        ever_R |= paired_evidence(wins_R, losses_R, look, against=truth_R / look) >= LIMIT
    assert ever_R.mean() <= MOST


@pytest.mark.parametrize("rate", [0.5, 0.85, 0.99])
def test_a_share_is_missed_at_any_look_no_more_often_than_allowed(rate) -> None:
    seen = np.cumsum(np.random.default_rng(4).random((RUNS, LOOKS)) < rate, axis=1)
    assert missed(share_evidence(seen, np.arange(1, LOOKS + 1), against=rate)) <= MOST


@pytest.mark.parametrize(("rate", "other", "part"), [(0.85, 0.85, 0.1), (0.9, 0.8, 0.5)])
def test_an_unpaired_difference_is_missed_at_any_look_no_more_often_than_allowed(rate, other, part) -> None:
    random = np.random.default_rng(5)
    first = random.random((RUNS, LOOKS)) < part
    right = random.random((RUNS, LOOKS)) < np.where(first, rate, other)
    streams = [np.cumsum(chosen, axis=1)[:, ::20] for chosen in (right & first, first, right & ~first, ~first)]
    assert missed(unpaired_evidence(*streams, against=rate - other)) <= MOST


def test_the_ends_are_where_the_evidence_is_spent() -> None:
    low, high = paired_bounds([30, 5], [12, 0], [400, 90], level=LEVEL)
    for end in (low, high):
        assert paired_evidence([30, 5], [12, 0], [400, 90], against=end) == pytest.approx([LIMIT, LIMIT], abs=1e-6)
    low, high = unpaired_bounds(80, 100, 700, 900, level=LEVEL)
    assert [unpaired_evidence(80, 100, 700, 900, against=end) for end in (low, high)] == pytest.approx([LIMIT, LIMIT], abs=1e-4)


def test_swapping_the_arms_mirrors_the_interval() -> None:
    low, high = paired_bounds([30, 3, 0], [10, 9, 0], [500, 60, 40])
    other_low, other_high = paired_bounds([10, 9, 0], [30, 3, 0], [500, 60, 40])
    assert low == pytest.approx(-other_high) and high == pytest.approx(-other_low)
    first, second = unpaired_difference(90, 100, 600, 800), unpaired_difference(600, 800, 90, 100)
    assert (first.low, first.high) == pytest.approx((-second.high, -second.low), abs=1e-6)


def test_counting_errors_instead_of_successes_mirrors_a_share() -> None:
    right, wrong = share(170, 200), share(30, 200)
    assert (right.low, right.high) == pytest.approx((1 - wrong.high, 1 - wrong.low))


def test_nothing_observed_says_nothing() -> None:
    for bounds, ends in ((paired_difference(0, 0, 0), (-1, 1)), (share(0, 0), (0, 1)), (unpaired_difference(0, 0, 0, 0), (-1, 1))):
        assert isnan(bounds.value) and (bounds.low, bounds.high) == ends
    assert verdict(*paired_bounds(0, 0, 0)) == "not yet"


def test_one_stream_alone_bounds_a_difference_as_far_as_it_goes() -> None:
    known, bounds = share(9, 10), unpaired_difference(0, 0, 9, 10)
    assert isnan(bounds.value)
    assert (bounds.low, bounds.high) == pytest.approx((-known.high, 1 - known.low), abs=1e-6)


def test_versions_that_always_agree_are_found_no_different_ever_more_narrowly() -> None:
    _, high = paired_bounds(0, 0, [10, 100, 1000, 100_000])
    assert (np.diff(high) < 0).all() and high[-1] < 1e-3
    assert verdict(*paired_bounds(0, 0, 1000), margin=0.02) == "no worse"


def test_an_extreme_stream_keeps_within_its_range() -> None:
    always, never = share(50, 50), share(0, 50)
    assert always.high == 1 and always.low > 0.8
    assert never.low == 0 and never.high < 0.2
    assert paired_difference(50, 0, 50).high == 1


def test_an_interval_holds_what_was_seen_and_a_higher_level_is_wider() -> None:
    for wins, losses, rows in ((7, 0, 7), (7, 30, 300), (0, 14, 40), (500, 480, 20_000)):
        wide, narrow = (paired_difference(wins, losses, rows, level=level) for level in (0.99, 0.8))
        assert -1 <= wide.low <= narrow.low <= narrow.value <= narrow.high <= wide.high <= 1
        assert wide.high - wide.low > narrow.high - narrow.low


def test_a_difference_of_five_points_is_seen_within_two_thousand_labels_and_its_side_is_right() -> None:
    low, high = paired_bounds(*(values[..., -1] for values in counts(paired(0.05, seed=6, looks=2000))))
    assert (low > 0).mean() > 0.95 and not (high < 0).any()


def test_watching_for_ever_costs_less_than_twice_the_width_of_a_single_look() -> None:
    for rows in (200, 1000, 5000, 100_000):
        once = 1.96 * np.sqrt(0.12 * rows) / rows
        assert paired_difference(6 * rows // 100, 6 * rows // 100, rows).high < 2 * once


def test_two_streams_are_compared_more_tightly_than_by_their_own_intervals() -> None:
    (low, high), (other_low, other_high) = share_bounds(850, 1000, level=0.975), share_bounds(850, 1000, level=0.975)
    assert unpaired_difference(850, 1000, 850, 1000).high < min(high - other_low, other_high - low)


@pytest.mark.parametrize(
    ("low", "high", "margin", "says"),
    [
        (0.001, 0.2, None, "better"),
        (-0.2, -0.001, None, "worse"),
        (-0.01, 0.01, None, "not yet"),
        (0.0, 0.0, None, "not yet"),
        (-0.01, 0.01, 0.02, "no worse"),
        (-0.03, 0.01, 0.02, "not yet"),
        (0.001, 0.2, 0.02, "better"),
        (-0.3, -0.1, 0.02, "worse"),
        (-0.015, -0.001, 0.02, "no worse"),
    ],
)
def test_verdicts(low, high, margin, says) -> None:
    assert verdict(low, high, margin) == says


@pytest.mark.parametrize("call", [
    lambda: verdict(-0.1, 0.1, margin=0.0),
    lambda: verdict(-0.1, 0.1, margin=2.0),
    lambda: share(5, 4),
    lambda: paired_difference(3, 3, 5),
    lambda: unpaired_difference(3, 2, 1, 1),
    lambda: share(1, 2, level=95),
])  # fmt: skip
def test_what_cannot_be_is_refused(call) -> None:
    with pytest.raises(ValueError):
        call()
