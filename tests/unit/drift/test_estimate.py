"""Estimates without labels: right where their assumption holds, and as wide as they are uncertain."""

from dataclasses import replace

import numpy as np
import pytest

from evergreen.drift.estimate import estimate
from evergreen.drift.label_shift import label_shift
from evergreen.drift.reference import Reference
from tests.drift_factories import reference
from tests.factories import LABELS


def answers(rows: int, seed: int, sharpness: float = 2.0, shares: tuple[float, ...] = (0.25, 0.25, 0.25, 0.25)):
    """Return probabilities that tell the truth, and labels drawn from them."""
    random = np.random.default_rng(seed)
    hidden = random.choice(4, size=rows, p=shares)
    scores = random.standard_normal((rows, 4)) * 0.7
    scores[np.arange(rows), hidden] += sharpness
    probabilities = np.exp(sharpness / 0.49 * scores)
    return probabilities / probabilities.sum(axis=1, keepdims=True), np.array(LABELS, dtype=object)[hidden]


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return reference(tmp_path_factory.mktemp("reference") / "kept", rows=60)


def with_rows(known: Reference, probabilities: np.ndarray, truth: np.ndarray) -> Reference:
    return replace(known, rows=replace(known.rows, probabilities=probabilities), truth=truth)


def test_accuracy_is_estimated_where_harder_texts_come(known: Reference) -> None:
    probabilities, truth = answers(800, 1, sharpness=1.3)
    right = np.array(LABELS, dtype=object)[probabilities.argmax(axis=1)] == truth
    hard = probabilities.max(axis=1) < 0.9
    held = with_rows(known, probabilities[:400], truth[:400])
    now = np.flatnonzero(hard[400:]) + 400
    found = estimate(held, probabilities[now], seed=1)
    assert found["accuracy"]["low"] <= right[now].mean() <= found["accuracy"]["high"]
    assert found["loss"]["low"] > 0


def test_intervals_cover_the_truth_as_often_as_they_say(known: Reference) -> None:
    covered = []
    for seed in range(100):
        probabilities, truth = answers(260, seed, sharpness=1.2)
        right = np.array(LABELS, dtype=object)[probabilities.argmax(axis=1)] == truth
        found = estimate(with_rows(known, probabilities[:200], truth[:200]), probabilities[200:], level=0.9, seed=seed)["accuracy"]
        covered.append(found["low"] <= right[200:].mean() <= found["high"])
    assert 0.8 <= np.mean(covered) <= 0.99


def test_a_reference_without_a_fault_still_gives_a_finite_estimate(known: Reference) -> None:
    probabilities = np.tile([0.97, 0.01, 0.01, 0.01], (50, 1))
    found = estimate(with_rows(known, probabilities, np.array(["access"] * 50, dtype=object)), probabilities[:20], seed=1)
    assert 0.9 < found["accuracy"]["value"] <= 1 and found["accuracy"]["low"] > 0.8
    assert found["labels"] is None


def test_answers_of_one_confidence_that_are_all_right_or_all_wrong_are_no_fault(known: Reference) -> None:
    sure = np.tile([1.0, 0, 0, 0], (80, 1))
    for label, least, most in (("access", 0.9, 1.0), ("card", 0.0, 0.1)):
        found = estimate(with_rows(known, sure, np.array([label] * 80, dtype=object)), sure[:30], seed=1)
        assert least <= found["accuracy"]["value"] <= most


def test_the_same_window_gives_the_same_estimate(known: Reference) -> None:
    probabilities, truth = answers(120, 3)
    held = with_rows(known, probabilities, truth)
    assert estimate(held, probabilities[:50], seed=4) == estimate(held, probabilities[:50], seed=4)


def test_another_mixture_of_labels_is_found() -> None:
    before, truth = answers(600, 1, sharpness=1.2)
    shares = (0.1, 0.1, 0.1, 0.7)
    now, labels = answers(400, 2, sharpness=1.2, shares=shares)
    found = label_shift(before, truth, now, LABELS, seed=1)
    assert found is not None and sum(part["now"] for part in found.values()) == pytest.approx(1)
    for label in LABELS:
        assert found[label]["low"] <= np.mean(labels == label) <= found[label]["high"]
        assert found[label]["reference"] == pytest.approx(np.mean(truth == label))


def test_labels_that_the_model_cannot_tell_apart_or_hardly_met_have_no_shares() -> None:
    probabilities, truth = answers(200, 1)
    assert label_shift(np.full((200, 4), 0.25), truth, probabilities, LABELS, seed=1) is None
    few = np.array(["access"] * 191 + ["card"] * 3 + ["fraud"] * 3 + ["savings"] * 3, dtype=object)
    assert label_shift(probabilities, few, probabilities, LABELS, seed=1) is None
    assert label_shift(probabilities, truth, np.empty((0, 4)), LABELS, seed=1) is None
