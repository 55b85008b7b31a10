"""The baseline learns what words say, from the rows that it is given and no others."""

import itertools

import numpy as np
import pytest

from evergreen.evaluation import baseline
from evergreen.evaluation.baseline import learning_curve, predict
from tests.factories import LABELS, examples, keyword


def test_it_learns_the_words_of_each_label():
    answers = predict(examples(200, noise=0.0), [f"please help me with {keyword(label)}" for label in LABELS], c=4.0)
    assert answers.tolist() == list(LABELS)


def test_it_reads_words_of_one_letter_and_scripts_without_spaces():
    train = examples(8, labels=["card", "fraud"]).assign(text=["我 的 卡", "诈骗 x"] * 4, label=["card", "fraud"] * 4)
    assert predict(train, ["卡", "诈骗"], c=10.0).tolist() == ["card", "fraud"]


def test_the_curve_is_nested_stratified_and_ends_with_all_rows(monkeypatch):
    parts = []
    monkeypatch.setattr(baseline, "predict", lambda part, texts, c: parts.append(part) or np.array([]))
    train = examples(201, seed=5)
    train.loc[0, "label"] = "rare"
    rows = [rows for rows, _ in learning_curve(train, [], c=4.0, seed=3)]
    assert rows[-1] == 201
    assert rows[-2] == pytest.approx(100, abs=4)
    for smaller, larger in itertools.pairwise(parts):
        assert set(smaller["id"]) < set(larger["id"])
    assert all(set(part["label"]) == {*LABELS, "rare"} for part in parts)


def test_the_last_point_of_the_curve_is_the_baseline_whatever_the_seed():
    train, texts = examples(120, noise=0.3), examples(60, seed=1)["text"]
    for seed in (1, 2):
        *_, (_, answers) = learning_curve(train, texts, c=4.0, seed=seed)
        assert answers.tolist() == predict(train, texts, c=4.0).tolist()
