"""A training is wanted for a reason that lasts, and starts when nothing holds it; the decision says which."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.monitoring.policy import DAY, HOUR, affordable_at, cooled_at, decide
from tests.policy_factories import NOW, settings, situation, window

DRIFTED = {"alarm": True, "estimated": 0.06}


def outcome(decision, trigger: str) -> str:
    return next(check.outcome for check in decision.checks if check.trigger == trigger)


def test_quiet_windows_ask_for_nothing_and_say_why() -> None:
    decision = decide([window(1), window(2)], situation(), settings())
    assert decision.action == "nothing" and decision.trigger is None and decision.holds == ()
    assert "no drift" in decision.because and "no late labels" in decision.because and "10 days old" in decision.because


def test_drift_counts_only_with_a_loss_and_only_when_it_lasts() -> None:
    assert decide([window(1, **DRIFTED)], situation(), settings()).action == "nothing"
    lasting = decide([window(1, **DRIFTED), window(2, **DRIFTED)], situation(), settings())
    assert (lasting.action, lasting.trigger) == ("retrain", "drift") and "0.060" in lasting.because
    harmless = [window(number, alarm=True, estimated=0.01) for number in (1, 2, 3)]
    assert decide(harmless, situation(), settings()).action == "nothing"
    interrupted = [window(1, **DRIFTED), window(2), window(3, **DRIFTED)]
    assert decide(interrupted, situation(), settings()).action == "nothing"


def test_one_window_without_it_does_not_clear_a_drift_that_lasted_and_as_many_as_made_it_do() -> None:
    lasted = [window(1, **DRIFTED), window(2, **DRIFTED)]
    once = decide([*lasted, window(3, alarm=True, estimated=0.02)], situation(), settings())
    assert (once.action, once.trigger) == ("retrain", "drift") and "2 windows in a row without it would clear" in once.because
    twice = [*lasted, window(3), window(4)]
    assert decide(twice, situation(), settings()).action == "nothing"
    assert decide([*twice, window(5, **DRIFTED)], situation(), settings()).action == "nothing"
    ruled_out = window(3, alarm=True, estimated=0.02, measured=0.0)
    assert decide([*lasted, ruled_out], situation(), settings()).action == "nothing"


def test_a_window_that_cannot_tell_neither_counts_nor_interrupts() -> None:
    untold = window(2, alarm=True, estimated=None)
    assert decide([window(1, **DRIFTED), untold], situation(), settings()).action == "nothing"
    assert decide([window(1, **DRIFTED), untold, window(3, **DRIFTED)], situation(), settings()).action == "retrain"
    assert outcome(decide([untold], situation(), settings()), "drift") == "unknown"


UNTESTED = {"alarm": False, "level": 0.0001, "p_value": None, "tests": [], "note": "too few rows to test"}


def test_a_window_that_could_not_be_tested_clears_nothing_and_is_not_called_quiet() -> None:
    untested = [window(number, drift=UNTESTED) for number in (3, 4)]
    lasted = [window(1, **DRIFTED), window(2, **DRIFTED)]
    assert decide([*lasted, *untested], situation(), settings()).action == "retrain"
    assert decide([*lasted, window(3), window(4)], situation(), settings()).action == "nothing"
    ruled_out = [window(number, drift=UNTESTED, measured=0.0) for number in (3, 4)]
    assert decide([*lasted, *ruled_out], situation(), settings()).action == "nothing"
    for before in ([], [window(1)]):
        decision = decide([*before, *untested], situation(), settings())
        assert outcome(decision, "drift") == "unknown" and "drift not tested: too few rows to test" in decision.because


def test_late_labels_overrule_the_estimate() -> None:
    refuted = [window(number, **DRIFTED, measured=0.0) for number in (1, 2)]
    decision = decide(refuted, situation(), settings())
    assert decision.action == "nothing" and "late labels rule out" in decision.because


def test_measured_loss_counts_beyond_doubt_alone() -> None:
    doubtful = [window(number, measured=0.045) for number in (1, 2)]  # 0.025 … 0.065 around a bound of 0.03
    assert decide(doubtful, situation(), settings()).action == "nothing"
    certain = decide([window(number, measured=0.06) for number in (1, 2)], situation(), settings())
    assert (certain.action, certain.trigger) == ("retrain", "loss")


def test_windows_of_another_version_or_reference_say_nothing_of_this_one() -> None:
    for other in ({"model_version": "0" * 12}, {"reference": "bb" * 8}):
        assert decide([window(1, **DRIFTED, **other), window(2, **DRIFTED)], situation(), settings()).action == "nothing"


def test_age_and_new_labels_need_no_window() -> None:
    old = situation(newest_row=NOW - 181 * DAY)
    assert decide([], old, settings()).trigger == "age"
    assert decide([], situation(new_labels=500), settings(new_labels=500)).trigger == "labels"
    assert decide([], situation(new_labels=499), settings(new_labels=500)).action == "nothing"


def test_what_is_switched_off_never_fires() -> None:
    everything = [window(number, **DRIFTED, measured=0.2) for number in (1, 2, 3)]
    off = settings(max_age_days=None, new_labels=None, measured_loss=None, estimated_loss=None)
    decision = decide(everything, situation(newest_row=0.0), off)
    assert decision.action == "nothing" and {check.outcome for check in decision.checks} == {"off"}


def test_the_most_telling_reason_names_the_retraining_and_all_are_told() -> None:
    everything = [window(number, **DRIFTED, measured=0.2) for number in (1, 2)]
    decision = decide(everything, situation(newest_row=0.0), settings(new_labels=10))
    assert decision.trigger == "loss"
    for words in ("measured loss", "estimated loss", "1,000 new labelled rows", "days old"):
        assert words in decision.because


@pytest.mark.parametrize(
    ("state", "name"),
    [
        ({"running": "r1"}, "running"),
        ({"open_alert": "a1"}, "open"),
        ({"starts": (NOW - 71 * HOUR,)}, "cooldown"),
        ({"starts": tuple(NOW - days * DAY for days in (29, 20, 10, 5))}, "budget"),
        ({"new_labels": 199}, "labels"),
    ],
)
def test_each_hold_keeps_a_wanted_training_waiting(state: dict, name: str) -> None:
    decision = decide([window(number, **DRIFTED) for number in (1, 2)], situation(**state), settings())
    assert decision.action == "wait" and decision.trigger == "drift"
    assert [hold.name for hold in decision.holds] == [name] and decision.holds[0].because in decision.because


def test_holds_give_way_at_the_moment_they_name() -> None:
    windows = [window(number, **DRIFTED) for number in (1, 2)]
    starts = tuple(NOW - days * DAY for days in (29, 20, 10, 1))
    held = decide(windows, situation(starts=starts), settings())
    assert {hold.name for hold in held.holds} == {"cooldown", "budget"}
    free = max(hold.until for hold in held.holds if hold.until)
    assert free == max(NOW + 2 * DAY, NOW + 1 * DAY)
    assert decide(windows, situation(starts=starts, now=free), settings()).action == "retrain"
    assert decide(windows, situation(starts=starts, now=free - 1), settings()).action == "wait"


def test_unknown_labels_hold_nothing_back() -> None:
    windows = [window(number, **DRIFTED) for number in (1, 2)]
    assert decide(windows, situation(new_labels=None), settings()).action == "retrain"


@given(st.lists(st.floats(0, 400 * DAY), max_size=30), st.integers(1, 5), st.floats(0.1, 60), st.floats(0, 200))
def test_whoever_waits_as_told_keeps_cooldown_and_budget(offers: list[float], budget: int, days: float, hours: float) -> None:
    rules, starts = settings(budget=budget, budget_days=days, cooldown_hours=hours), []
    for now in sorted(offers):
        if cooled_at(starts, rules) <= now and affordable_at(starts, now, rules) <= now:
            starts.append(now)
    assert all(later - earlier >= hours * HOUR - 1e-3 for earlier, later in pairwise(starts))
    for start in starts:
        assert sum(start <= other < start + days * DAY - 1e-3 for other in starts) <= budget


def test_a_decision_is_json_and_the_same_each_time() -> None:
    windows, state = [window(number, **DRIFTED) for number in (1, 2)], situation(starts=(NOW,))
    first, second = (decide(windows, state, settings()) for _ in range(2))
    assert first == second
    assert json.loads(json.dumps(first.as_json()))["holds"][0]["name"] == "cooldown"
