import json
from pathlib import Path

import pytest

from serving.router import Router, UnusableText
from serving.settings import Settings
from tests.release_factories import SETTINGS, contents


@pytest.fixture
def router(tmp_path: Path) -> Router:
    contents(tmp_path)
    return Router.load(tmp_path, Settings.model_validate_json(json.dumps(SETTINGS)))


def test_texts_are_cleaned_as_before_training(router: Router) -> None:
    assert router.cleaned("  ｃａｒｄ\u200b  of jo@bank.example ") == "card of [EMAIL]"


def test_answers_come_in_the_order_asked(router: Router) -> None:
    labels = [prediction.label for prediction in router.answer(["savings", "fraud please help me", "card"]).predictions]
    assert labels == ["savings", "fraud", "card"]


def test_a_torn_text_goes_to_a_person_and_a_clear_one_does_not(router: Router) -> None:
    clear, torn = router.answer(["card", "card savings"]).predictions
    assert not clear.needs_person
    assert torn.needs_person


def test_texts_that_cleaning_empties_are_refused_by_place(router: Router) -> None:
    with pytest.raises(UnusableText, match="at place 1, 2"):
        router.answer(["card", "\u200b", "\x00"])


def test_the_description_names_version_labels_threshold_and_verdict(router: Router) -> None:
    told = router.describe()
    assert told["model_version"] == router.classifier.version
    assert (told["labels"], told["threshold"], told["verdict"]) == (["access", "card", "fraud", "savings"], 0.8, "HOLD")
