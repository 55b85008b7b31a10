import json

import pytest
from pydantic import ValidationError

from serving.api.exchange import Feedback, faults, request_model
from serving.settings import Limits

Request = request_model(Limits(max_texts=2, max_characters=5, timeout=3))


def refused(body: bytes | str) -> dict:
    with pytest.raises(ValidationError) as caught:
        Request.model_validate_json(body)
    return faults(caught.value, Request)


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
        ('{"text": "a", "groups": {"Age": "x"}}', "groups", "match pattern"),
        ('{"text": "a", "groups": {"age": ""}}', "groups", "at least 1 character"),
        ('{"text": "a", "groups": {"age": 30}}', "groups", "valid string"),
        ('{"text": "a", "groups": {"age": "%s"}}' % ("x" * 65), "groups", "at most 64 characters"),
        ('{"text": "a", "groups": null}', "groups", "should be an object"),
        ('{"text": "a", "txt": "b"}', "", "the choices are texts, text, groups"),
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


def test_more_groups_than_sixteen_are_refused() -> None:
    groups = {f"g{number}": "x" for number in range(17)}
    assert "at most 16 items" in refused(json.dumps({"text": "a", "groups": groups}))["error"]


def test_a_refusal_never_repeats_what_was_sent() -> None:
    with pytest.raises(ValidationError) as caught:
        Request.model_validate_json('{"text": "my secret", "card 4929": "my secret", "groups": {"age": "", "Card 4929": "my secret"}}')
    told = str(faults(caught.value, Request))
    assert "secret" not in told.lower() + str(caught.value).lower()
    assert "4929" not in told


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ('{"request_id": "1", "label": "a"}', "request_id"),
        (f'{{"request_id": "{"0" * 32}", "label": ""}}', "label"),
        ('{"label": "a"}', "request_id"),
    ],
)
def test_feedback_needs_the_id_of_an_answer_and_a_label(body: str, where: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Feedback.model_validate_json(body)
    assert [fault["where"] for fault in faults(caught.value, Feedback)["detail"]] == [where]
