import pytest

from evergreen.drift.descriptors import TITLES, describe, vocabulary, words


def described(text: str, known: tuple[str, ...] = ()) -> dict[str, float]:
    return describe([text], known).iloc[0].to_dict()


def test_a_plain_sentence_is_counted_right() -> None:
    found = described("My card, 4 weeks old, is broken. Help!", ("my", "card"))
    assert (found["characters"], found["words"], found["sentences"]) == (38, 8, 2)
    assert found["mean_word_length"] == pytest.approx(27 / 8)
    assert found["digit_share"] == pytest.approx(1 / 38)
    assert found["nonletter_share"] == pytest.approx(5 / 38)
    assert found["unknown_word_share"] == pytest.approx(6 / 8)


def test_masked_tokens_are_counted_and_are_no_unknown_words() -> None:
    found = described("write to [EMAIL] or [PHONE]", ("write", "to", "or"))
    assert (found["masked_tokens"], found["words"], found["unknown_word_share"]) == (2, 5, 0)


@pytest.mark.parametrize(("text", "expected"), [("Grüße aus Köln", 3 / 14), ("здравей", 1.0), ("plain", 0.0)])
def test_share_outside_ascii(text: str, expected: float) -> None:
    assert described(text)["nonascii_share"] == pytest.approx(expected)


def test_words_of_any_script_are_words() -> None:
    assert words("It's Ärger mit карта, e-mail") == ["it's", "ärger", "mit", "карта", "e-mail"]


@pytest.mark.parametrize("text", ["", "   ", "...", "[EMAIL]"])
def test_a_text_without_words_has_finite_descriptors(text: str) -> None:
    found = describe([text], ())
    assert list(found.columns) == list(TITLES)
    assert found.notna().all(axis=None)
    assert found["unknown_word_share"].item() == 0


def test_a_word_of_one_text_alone_stays_out_of_the_vocabulary() -> None:
    assert vocabulary(["card card lost", "my card", "my secret"]) == ["card", "my"]
