"""Temperature and threshold: recovered where known, guarded where rows are few, honest where out of reach."""

import numpy as np
import pytest

from evergreen.errors import EvidenceError
from evergreen.evaluation.calibration import MIN_ANSWERED, answers, at_threshold, calibrate, choose_threshold, fit_temperature
from evergreen.model.inference import softmax

KNOBS = {"bins": 10, "target_accuracy": 0.9, "min_coverage": 0.3}


def overconfident(rows, *, by, seed=0, scale=2.0):
    """Return logits `by` times too large, and labels drawn from what they should have said."""
    random = np.random.default_rng(seed)
    honest = random.normal(scale=scale, size=(rows, 4))
    actual = (softmax(honest).cumsum(axis=1) < random.random((rows, 1))).sum(axis=1)
    return by * honest, actual


@pytest.mark.parametrize("by", [0.5, 1.0, 3.0])
def test_the_temperature_that_spoiled_the_logits_is_found(by):
    assert fit_temperature(*overconfident(20_000, by=by)) == pytest.approx(by, rel=0.05)


def test_calibration_lowers_log_loss_and_calibration_error_of_an_overconfident_model():
    _, _, report = calibrate(*overconfident(2000, by=3.0), **KNOBS)
    assert report["log_loss_after"] < report["log_loss_before"]
    assert report["ece_after"] < 0.03 < report["ece_before"]


def test_a_few_rows_without_a_mistake_do_not_ask_for_certainty():
    logits, actual = 3 * np.eye(4)[[0, 1, 2, 3, 0]], np.array([0, 1, 2, 3, 0])
    assert 0.2 < fit_temperature(logits, actual) < 1


def test_labels_that_the_model_does_not_know_do_not_move_the_temperature_but_count_as_wrong():
    logits, actual = overconfident(400, by=2.0)
    strangers = np.concatenate([actual, np.full(100, -1)])
    more = np.concatenate([logits, logits[:100]])
    assert fit_temperature(more, strangers) == fit_temperature(logits, actual)
    assert at_threshold(np.ones(2), np.array([True, False]), 0.0).accuracy == 0.5
    _, _, report = calibrate(more, strangers, bins=10, target_accuracy=1.0, min_coverage=1.0)
    _, _, known = calibrate(logits, actual, bins=10, target_accuracy=1.0, min_coverage=1.0)
    assert report["accuracy_answered"] == pytest.approx(known["accuracy_answered"] * 0.8, abs=1e-6)


def test_only_strangers_leave_the_temperature_at_one():
    assert fit_temperature(np.eye(3), np.full(3, -1)) == 1.0


def sure(*right):
    """Return confidences from .8 to 1, and which of them are right: one flag for each tenth, from the lowest up."""
    return np.linspace(0.8, 1, 100), np.repeat(np.array(right, bool), 100 // len(right))


def test_the_threshold_is_the_smallest_that_reaches_the_target():
    confidence, correct = sure(0, 0, 0, 0, 0, 1, 1, 1, 1, 1)
    found, reached = choose_threshold(confidence, correct, target_accuracy=0.9, min_coverage=0.1)
    assert reached
    assert found.accuracy >= 0.9
    assert at_threshold(confidence, correct, found.threshold - 0.003).accuracy < 0.9
    assert found.coverage == pytest.approx(0.55)


def test_a_model_good_enough_everywhere_answers_everything():
    found, reached = choose_threshold(np.linspace(0.9, 1, 50), np.ones(50, bool), target_accuracy=0.9, min_coverage=0.3)
    assert (found.threshold, found.coverage, found.accuracy, reached) == (0.0, 1.0, 1.0, True)


def test_a_lucky_run_of_right_answers_of_which_the_model_is_not_sure_does_not_reach_the_target():
    found, reached = choose_threshold(np.linspace(0.5, 0.7, 40), np.ones(40, bool), target_accuracy=0.9, min_coverage=0.3)
    assert found.accuracy == 1.0
    assert not reached


def test_on_few_rows_the_target_is_kept_on_new_rows_about_as_often_as_it_is_missed():
    logits, actual = overconfident(20_000, by=1.5, seed=99, scale=3)
    kept = []
    for seed in range(40):
        temperature, chosen, _ = calibrate(*overconfident(90, by=1.5, seed=seed, scale=3), bins=10, target_accuracy=0.9, min_coverage=0.3)
        kept.append(at_threshold(*answers(logits, actual, temperature=temperature), chosen.threshold).accuracy)
    assert 0.89 <= np.mean(kept) <= 0.92


def test_a_target_out_of_reach_takes_the_best_threshold_with_enough_coverage_and_says_so():
    logits, actual = overconfident(1000, by=1.0)
    _, chosen, report = calibrate(logits, actual, bins=10, target_accuracy=1.0, min_coverage=0.5)
    assert report["reached"] is False
    assert chosen.coverage >= 0.5
    confidence, correct = answers(logits, actual, temperature=report["temperature"])
    order = np.sort(confidence)[:501]
    vouched = [min(correct[confidence >= value].mean(), confidence[confidence >= value].mean()) for value in order]
    answered = confidence >= chosen.threshold
    assert min(correct[answered].mean(), confidence[answered].mean()) == pytest.approx(max(vouched))


def test_min_coverage_keeps_the_threshold_down():
    found, reached = choose_threshold(*sure(0, 0, 0, 0, 0, 0, 0, 0, 0, 1), target_accuracy=0.95, min_coverage=0.6)
    assert found.coverage >= 0.6
    assert not reached


def test_an_accuracy_seen_on_a_handful_of_rows_does_not_set_the_threshold():
    confidence = np.linspace(0.8, 1, 100)
    found, reached = choose_threshold(confidence, confidence > 0.987, target_accuracy=0.9, min_coverage=0.0)
    assert found.coverage * 100 >= MIN_ANSWERED
    assert not reached


def test_rows_of_equal_confidence_are_answered_together():
    confidence = np.repeat([0.9, 0.4], 30)
    correct = np.array([True] * 25 + [False] * 35)
    found, _ = choose_threshold(confidence, correct, target_accuracy=1.0, min_coverage=0.0)
    assert found.coverage == 0.5
    assert found.accuracy == pytest.approx(25 / 30)


def test_the_curve_runs_from_answering_all_to_answering_little():
    _, _, report = calibrate(*overconfident(300, by=1.0), **KNOBS)
    coverages = [row["coverage"] for row in report["curve"]]
    assert coverages[0] == 1.0
    assert coverages == sorted(coverages, reverse=True)


def test_no_rows_are_refused():
    with pytest.raises(EvidenceError, match=r"calibration split has no rows; raise split\.fractions\.calibration"):
        calibrate(np.empty((0, 3)), np.empty(0, int), **KNOBS)
