"""The scorecard on answers made by hand: what is paired is paired, what is undefined is said to be."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score

from evergreen.evaluation import scorecard
from evergreen.evaluation.intervals import shown
from evergreen.evaluation.slices import Slice

KNOBS = {"bins": 10, "resamples": 300, "level": 0.95, "seed": 0, "clusters": None}
ROWS = 240


@pytest.fixture
def answers():
    random = np.random.default_rng(2)
    actual = random.integers(3, size=ROWS)
    hard = random.random(ROWS)
    predicted, baseline, half = (np.where(hard < share, actual, (actual + 1) % 3) for share in (0.9, 0.8, 0.6))
    confidence = random.uniform(0.4, 1.0, size=(ROWS, 1))
    probabilities = np.where(np.eye(3, dtype=bool)[predicted], confidence, (1 - confidence) / 2)
    return scorecard.Answers(("a", "b", "c"), actual, predicted, probabilities, baseline, half, threshold=0.7)


def halves():
    first = np.arange(ROWS) < ROWS // 2
    return [Slice("part", "first", first), Slice("part", "second", ~first), Slice("part", "few", np.arange(ROWS) < 5)]


def test_a_lead_is_paired_so_its_interval_is_tight(answers):
    result = scorecard.scored(answers, halves(), **KNOBS)
    figures = scorecard.headline(result, rows=ROWS)
    lead = figures["lead"]["accuracy"]
    assert lead["low"] > 0
    separate = (
        figures["accuracy"]["high"]
        - figures["accuracy"]["low"]
        + figures["baseline"]["accuracy"]["high"]
        - figures["baseline"]["accuracy"]["low"]
    )
    assert lead["high"] - lead["low"] < 0.7 * separate


def test_doubling_is_the_full_baseline_minus_the_half_one(answers):
    gain = scorecard.doubling(scorecard.scored(answers, halves(), **KNOBS))
    expected = (answers.baseline == answers.actual).mean() - (answers.half_baseline == answers.actual).mean()
    assert gain["accuracy"]["value"] == pytest.approx(expected, abs=1e-6)


def test_slices_are_judged_on_their_own_rows(answers):
    slices = halves()
    table = scorecard.slice_table(slices, scorecard.scored(answers, slices, **KNOBS), min_rows=25)
    for part, row in zip(slices[:2], table, strict=False):
        actual, predicted = answers.actual[part.mask], answers.predicted[part.mask]
        assert row["accuracy"]["value"] == pytest.approx((actual == predicted).mean(), abs=1e-6)
        assert row["macro_f1"]["value"] == pytest.approx(f1_score(actual, predicted, average="macro"), abs=1e-6)
    assert table[2] == {"by": "part", "slice": "few", "rows": 5, "outcome": "insufficient", "accuracy": None, "macro_f1": None}


def test_answering_nothing_has_no_accuracy(answers):
    figures = scorecard.headline(scorecard.scored(replace(answers, threshold=1.1), halves(), **KNOBS), rows=ROWS)
    assert figures["answered"]["coverage"]["value"] == 0
    assert figures["answered"]["accuracy"] is None


def test_a_label_without_rows_or_answers_is_listed_with_undefined_rates(answers):
    wider = replace(answers, labels=("a", "b", "c", "d"), probabilities=np.pad(answers.probabilities, ((0, 0), (0, 1))))
    row = scorecard.class_table(wider, scorecard.scored(wider, halves(), **KNOBS))[3]
    assert row == {"label": "d", "rows": 0, "precision": None, "recall": None, "f1": None}


def test_a_figure_is_shown_with_its_interval():
    assert shown({"value": 0.8612, "low": 0.8251, "high": 0.8969}) == "0.861 (0.825 to 0.897)"
    assert shown(None) == "undefined"
