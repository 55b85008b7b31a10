"""Figures agree with scikit-learn on whole and weighted rows, and are NaN where there is nothing to judge."""

import numpy as np
import pytest
from sklearn import metrics as sklearn

from evergreen.evaluation import metrics

CLASSES = 5


@pytest.fixture
def answers():
    random = np.random.default_rng(7)
    actual = random.integers(CLASSES, size=240)
    logits = random.normal(size=(240, CLASSES)) + 1.5 * np.eye(CLASSES)[actual]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return actual, probabilities.argmax(axis=1), probabilities


@pytest.fixture
def weights():
    return np.random.default_rng(8).integers(0, 4, size=(6, 240)).astype(float)


def test_accuracy_agrees_with_scikit_learn(answers, weights):
    actual, predicted, _ = answers
    assert metrics.accuracy(actual, predicted) == pytest.approx(sklearn.accuracy_score(actual, predicted))
    expected = [sklearn.accuracy_score(actual, predicted, sample_weight=row) for row in weights]
    np.testing.assert_allclose(metrics.accuracy(actual, predicted, weights), expected)


def test_class_rates_agree_with_scikit_learn(answers, weights):
    actual, predicted, _ = answers
    found = metrics.class_rates(actual, predicted, classes=CLASSES, weights=weights)
    for place, row in enumerate(weights):
        precision, recall, f1, _ = sklearn.precision_recall_fscore_support(actual, predicted, sample_weight=row)
        np.testing.assert_allclose(found.precision[place], precision)
        np.testing.assert_allclose(found.recall[place], recall)
        np.testing.assert_allclose(found.f1[place], f1)
        assert found.macro_f1[place] == pytest.approx(f1.mean())


def test_log_loss_agrees_with_scikit_learn(answers, weights):
    actual, _, probabilities = answers
    of_actual = metrics.probability_of_actual(probabilities, actual)
    expected = [sklearn.log_loss(actual, probabilities, sample_weight=row) for row in weights]
    np.testing.assert_allclose(metrics.log_loss(of_actual, weights), expected)


def test_weights_of_one_equal_no_weights(answers):
    actual, predicted, probabilities = answers
    confidence = probabilities.max(axis=1)
    ones = np.ones((1, 240))
    assert metrics.class_rates(actual, predicted, classes=CLASSES, weights=ones).macro_f1[0] == pytest.approx(
        float(metrics.class_rates(actual, predicted, classes=CLASSES).macro_f1)
    )
    assert metrics.calibration_error(confidence, actual == predicted, bins=10, weights=ones)[0] == pytest.approx(
        float(metrics.calibration_error(confidence, actual == predicted, bins=10))
    )


def test_a_class_never_answered_has_no_precision_and_an_f1_of_zero():
    rates = metrics.class_rates(np.array([0, 0, 1]), np.array([0, 0, 0]), classes=3)
    np.testing.assert_array_equal(rates.precision, [2 / 3, np.nan, np.nan])
    np.testing.assert_array_equal(rates.recall, [1, 0, np.nan])
    np.testing.assert_allclose(rates.f1, [0.8, 0, np.nan])


def test_a_class_absent_from_a_resample_is_left_out_of_macro_f1_as_scikit_learn_does():
    actual, predicted = np.array([0, 1, 2, 2]), np.array([0, 1, 2, 0])
    weights = np.array([[2.0, 2.0, 0.0, 0.0]])
    found = metrics.class_rates(actual, predicted, classes=3, weights=weights).macro_f1
    assert found[0] == sklearn.f1_score([0, 0, 1, 1], [0, 0, 1, 1], average="macro") == 1.0


def test_calibration_error_by_hand():
    confidence, correct = np.array([0.95, 0.85, 0.55, 0.45]), np.array([True, False, True, True])
    # bins of 0.5: the lower holds one right answer at .45; the upper two right of three at mean .78333
    assert metrics.calibration_error(confidence, correct, bins=2) == pytest.approx(0.25 * 0.55 + 0.75 * abs(2 / 3 - 2.35 / 3))


def test_a_confidence_of_one_falls_into_the_last_bin():
    np.testing.assert_array_equal(metrics.bin_codes(np.array([0.0, 0.5, 0.99, 1.0]), 4), [0, 2, 3, 3])


def test_a_model_as_right_as_it_is_sure_has_no_calibration_error():
    confidence = np.repeat([0.25, 0.75], 4)
    correct = np.array([True, False, False, False, True, True, True, False])
    assert metrics.calibration_error(confidence, correct, bins=2) == 0


def test_figures_of_no_rows_are_undefined():
    nothing = np.zeros((1, 3))
    codes = np.array([0, 1, 2])
    assert np.isnan(metrics.accuracy(codes, codes, nothing)[0])
    assert np.isnan(metrics.class_rates(codes, codes, classes=3, weights=nothing).macro_f1[0])
    assert np.isnan(metrics.log_loss(np.full(3, 0.5), nothing)[0])
    assert np.isnan(metrics.calibration_error(np.full(3, 0.5), codes == 0, bins=5, weights=nothing)[0])


def test_a_label_that_the_model_does_not_know_is_left_out_of_the_log_loss():
    probabilities = np.array([[0.5, 0.5], [0.2, 0.8], [0.9, 0.1]])
    of_actual = metrics.probability_of_actual(probabilities, np.array([0, -1, 2]))
    np.testing.assert_array_equal(of_actual, [0.5, np.nan, np.nan])
    assert metrics.log_loss(of_actual) == pytest.approx(np.log(2))


def test_a_probability_of_zero_costs_much_but_not_infinitely():
    assert metrics.log_loss(np.array([0.0])) == pytest.approx(-np.log(1e-12))


def test_label_codes_are_positions_and_minus_one_for_strangers():
    np.testing.assert_array_equal(metrics.label_codes(["b", "a", "x"], ["a", "b"]), [1, 0, -1])
