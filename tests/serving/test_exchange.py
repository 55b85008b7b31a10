import numpy as np
import pytest
from pydantic import ValidationError

from serving.exchange import answer, faults, request_model
from serving.settings import Limits

Request = request_model(Limits(max_texts=2, max_characters=5, timeout=3))


def refused(body: bytes | str) -> dict:
    with pytest.raises(ValidationError) as caught:
        Request.model_validate_json(body)
    return faults(caught.value)


def test_one_text_and_a_list_of_one_ask_the_same() -> None:
    assert Request.model_validate_json('{"text": "a"}').asked == Request.model_validate_json('{"texts": ["a"]}').asked == ["a"]


@pytest.mark.parametrize(
    ("body", "where", "what"),
    [
        ('{"texts": []}', "texts", "at least 1 item"),
        ('{"texts": ["a", "b", "c"]}', "texts", "at most 2 items"),
        ('{"texts": ["a", ""]}', "texts[1]", "at least 1 character"),
        ('{"text": "123456"}', "text", "at most 5 characters"),
        ('{"text": " \\t"}', "", "empty or only white space"),
        ('{"texts": [1]}', "texts[0]", "valid string"),
        ('{"texts": [NaN]}', "texts[0]", "valid string"),
        ('{"texts": "a"}', "texts", "valid array"),
        ('{"text": null}', "", 'either "texts" (a list) or "text"'),
        ('{"text": "a", "texts": ["a"]}', "", 'either "texts" (a list) or "text"'),
        ("{}", "", 'either "texts" (a list) or "text"'),
        ("NaN", "", "should be an object"),
        ("[]", "", "should be an object"),
        ("", "", "Invalid JSON"),
        ('{"text": "\\ud800"}', "", "Invalid JSON"),
        (b'{"text": "\xff"}', "", "Invalid JSON"),
    ],
)
def test_a_request_that_breaks_the_rules_is_told_where(body: bytes | str, where: str, what: str) -> None:
    told = refused(body)
    assert told["detail"][0]["where"] == where
    assert what in told["detail"][0]["what"]
    assert what in told["error"]


def test_a_refusal_never_repeats_what_was_sent() -> None:
    with pytest.raises(ValidationError) as caught:
        Request.model_validate_json('{"text": "my secret", "card 4929": "my secret"}')
    assert "secret" not in str(faults(caught.value)) + str(caught.value)
    assert "4929" not in str(faults(caught.value))


def test_an_answer_names_every_label_and_marks_the_unsure_for_a_person() -> None:
    probabilities = np.array([[0.1, 0.9], [0.55, 0.45]])
    sure, unsure = answer(probabilities, labels=("no", "yes"), threshold=0.6, version="v1").predictions
    assert (sure.label, sure.confidence, sure.for_a_person) == ("yes", 0.9, False)
    assert (unsure.label, unsure.for_a_person, unsure.model_version) == ("no", True, "v1")
    assert sure.probabilities == {"no": 0.1, "yes": 0.9}


def test_a_confidence_at_the_threshold_is_answered_by_the_model() -> None:
    assert not answer(np.array([[0.5, 0.5]]), labels=("a", "b"), threshold=0.5, version="v").predictions[0].for_a_person
