"""Recorded windows decided upon again: with the settings of then the same, with others what they would have meant."""

import pytest

from evergreen.monitoring.backtest import replay
from evergreen.monitoring.policy import DAY, Situation, decide
from tests.policy_factories import NOW, around, settings, window

QUICK = settings(cooldown_hours=0, min_labels=1, persistence=1, budget=100)
DRIFTED = {"alarm": True, "estimated": 0.1}


def drifting(quiet: int, drifted: int) -> list[dict]:
    """Quiet windows, then drifted ones, all under one model that was never replaced."""
    return [window(n, labelled=50) for n in range(1, quiet + 1)] + [
        window(n, **DRIFTED, labelled=50) for n in range(quiet + 1, quiet + drifted + 1)
    ]


def test_until_a_retraining_the_decisions_are_those_that_were_made() -> None:
    windows, rules = drifting(3, 2), settings(min_labels=1)
    found = replay(windows, rules, newest_row=NOW)
    for place, step in enumerate(found.steps):
        state = Situation(now=windows[place]["until"], newest_row=NOW, new_labels=50 * (place + 1))
        made = decide(windows[: place + 1], state, rules)
        assert (step.decision.action, step.decision.because) == (made.action, made.because)
    assert [step.decision.action for step in found.steps] == ["nothing"] * 4 + ["retrain"]


def test_a_retraining_ends_the_loss_that_it_was_for_and_is_counted_as_saved() -> None:
    found = replay(drifting(2, 4), QUICK)
    assert [step.decision.action for step in found.steps] == ["nothing", "nothing", "retrain", "nothing", "nothing", "nothing"]
    assert [round(step.loss, 6) for step in found.steps] == [0, 0, 0.1, 0, 0, 0]
    assert found.saved == pytest.approx({"value": 30, "low": 24, "high": 36})  # 3 windows of 100 answers after it, 0.1 (± 0.02) each
    assert found.mean_loss == pytest.approx(10 / 600)


def test_patience_costs_what_it_waits_for() -> None:
    windows = drifting(2, 6)
    hasty, patient = replay(windows, QUICK), replay(windows, settings(cooldown_hours=0, min_labels=1, persistence=3, budget=100))
    assert hasty.saved["value"] - patient.saved["value"] == pytest.approx(20)  # two windows later
    never = replay(windows, settings(max_age_days=None, measured_loss=None, estimated_loss=None))
    assert never.retrainings == [] and never.saved["value"] == 0 and never.mean_loss == pytest.approx(0.075)


def test_a_model_that_would_not_have_come_about_keeps_losing() -> None:
    """The recorded loop retrained after window 3; settings that never do lose on in the windows of its successor."""
    successor = {"model_version": "1" * 12, "reference": "bb" * 8, "labelled": 50}
    windows = [*drifting(2, 1), *(window(n, **successor) for n in (4, 5, 6))]
    never = replay(windows, settings(max_age_days=None, measured_loss=None, estimated_loss=None))
    assert [round(step.loss, 6) for step in never.steps] == [0, 0, 0.1, 0.1, 0.1, 0.1]
    late = replay(windows, settings(cooldown_hours=0, min_labels=1, persistence=3, budget=100))
    assert [step.decision.action for step in late.steps] == ["nothing"] * 4 + ["retrain", "nothing"]
    as_it_was = replay(windows, QUICK)
    assert [round(step.loss, 6) for step in as_it_was.steps] == [0, 0, 0.1, 0, 0, 0]


def test_further_drift_after_an_earlier_retraining_is_seen() -> None:
    windows = [window(1, **DRIFTED, labelled=50), window(2, **DRIFTED, labelled=50), window(3, alarm=True, estimated=0.25, labelled=50)]
    found = replay(windows, QUICK)
    assert [step.decision.action for step in found.steps] == ["retrain", "nothing", "retrain"]
    assert found.steps[2].loss == pytest.approx(0.15)


def test_measured_losses_go_before_estimates_and_no_figure_is_no_loss() -> None:
    measured = window(1, estimated=0.3, quality={"loss": around(0.1)})
    assert replay([measured], QUICK).steps[0].loss == pytest.approx(0.1)
    assert replay([window(1, estimated=None)], QUICK).steps[0].loss == 0
    assert replay([], QUICK).mean_loss is None


def test_labels_count_from_the_last_retraining_on() -> None:
    windows = [window(n, alarm=True, estimated=0.1 * n, labelled=100) for n in range(1, 7)]
    found = replay(windows, settings(cooldown_hours=0, min_labels=200, persistence=1, budget=100))
    assert [step.decision.action for step in found.steps] == ["wait", "retrain", "wait", "retrain", "wait", "retrain"]
    assert found.waited == 3


def test_age_counts_from_the_newest_training_row() -> None:
    windows = [window(n, labelled=500) for n in range(1, 4)]
    rules = settings(max_age_days=10)
    assert replay(windows, rules, newest_row=NOW - 8.5 * DAY).retrainings[0].window["number"] == 2
    assert replay(windows, rules).retrainings == []
