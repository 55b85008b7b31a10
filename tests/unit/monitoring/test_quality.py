"""Quality by late labels: right figures, fair weights, and honest words about labels that are no fair sample."""

import numpy as np
import pandas as pd
import pytest

from evergreen.monitoring.watch.quality import MIN_ROWS, fair_weights, quality


def answers(rows: int, *, accuracy: float = 0.8, seed: int = 0) -> pd.DataFrame:
    """Answers whose confidence is right about their chances, from 0.5 up; on average as accurate as said."""
    random = np.random.default_rng(seed)
    confidence = np.clip(random.normal(accuracy, 0.12, rows), 0.5, 1.0)
    right = random.random(rows) < confidence
    label = np.where(random.random(rows) < 0.5, "card", "fraud")
    return pd.DataFrame(
        {
            "label": label,
            "prediction": np.where(right, label, "access"),
            "confidence": confidence,
            "timestamp": pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(rows), unit="h"),
            "group_age_band": random.choice(["18-34", "60+"], rows),
        }
    )


def test_nothing_is_lost_where_the_model_is_as_right_as_on_its_reference() -> None:
    now, before = answers(300, seed=1), answers(400, seed=2)
    found = quality(now, before, confidence_of_all=now["confidence"].to_numpy())
    assert found and found["rows"] == 300 and found["note"] is None
    assert found["loss"]["low"] < 0 < found["loss"]["high"]
    assert found["accuracy"]["value"] == pytest.approx((now["label"] == now["prediction"]).mean(), abs=1e-6)
    assert found["effective_rows"] == pytest.approx(300, rel=0.01)


def test_a_loss_is_beyond_doubt_once_there_are_labels_enough() -> None:
    before = answers(400, accuracy=0.85, seed=2)
    now = answers(300, accuracy=0.6, seed=1)
    found = quality(now, before, confidence_of_all=now["confidence"].to_numpy())
    assert found and found["loss"]["low"] > 0.05


def test_labels_of_unsure_answers_alone_are_no_loss() -> None:
    """Our own batch to label is of this kind: without weights it would look like a loss."""
    before, everyone = answers(400, seed=2), answers(2000, seed=1)
    asked_for = np.random.default_rng(3).random(len(everyone)) < 6 * np.exp(-8 * (everyone["confidence"] - 0.3))
    now = everyone[asked_for]
    plain = (before["label"] == before["prediction"]).mean() - (now["label"] == now["prediction"]).mean()
    found = quality(now, before, confidence_of_all=everyone["confidence"].to_numpy())
    assert found and plain > 0.07
    assert found["loss"]["low"] < 0.03 and found["loss"]["value"] < plain - 0.04
    assert "less sure of" in found["note"]
    assert found["effective_rows"] < found["rows"]


def test_weights_are_one_on_average_and_all_alike_for_a_fair_sample() -> None:
    everyone = np.random.default_rng(0).random(2000)
    assert fair_weights(everyone, everyone) == pytest.approx(np.ones(2000), rel=0.01)
    some = fair_weights(everyone[everyone < 0.7], everyone)
    assert some.mean() == pytest.approx(1.0)


def test_too_few_labels_say_nothing() -> None:
    few = answers(MIN_ROWS - 1)
    assert quality(few, answers(100), confidence_of_all=few["confidence"].to_numpy()) is None


def test_each_class_and_group_has_its_own_figures_and_a_new_class_has_nothing_to_lose() -> None:
    now, before = answers(100, seed=1), answers(200, seed=2)
    now.loc[:9, "label"] = "crypto"
    found = quality(now, before, confidence_of_all=now["confidence"].to_numpy())
    assert found
    classes = {part["name"]: part for part in found["classes"]}
    assert set(classes) == {"card", "fraud", "crypto"}
    assert classes["crypto"]["loss"] is None and classes["crypto"]["accuracy"]["value"] == 0 and classes["crypto"]["reference"] is None
    assert {(part["by"], part["name"]) for part in found["groups"]} == {("age_band", "18-34"), ("age_band", "60+")}
