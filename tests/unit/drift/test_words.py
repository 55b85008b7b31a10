import numpy as np
import pytest

from evergreen.drift.words import SIZE, counts, sketches


def test_a_word_that_one_text_alone_uses_is_not_counted() -> None:
    assert counts(["My card is lost", "card card stuck", "Ms Verity's CARD is here"]) == {"card": 3, "is": 2}


def test_a_sketch_has_length_one_and_a_text_without_words_has_none() -> None:
    found = sketches(["where is my card", "", "!!! ???"], {"card": 5}, 10)
    assert found.shape == (3, SIZE) and found.dtype == np.float32
    assert np.linalg.norm(found, axis=1) == pytest.approx([1, 0, 0])


def test_texts_that_share_their_rarer_words_are_alike() -> None:
    known = {"the": 99, "is": 99, "mortgage": 3, "card": 3}
    first, alike, other = sketches(["the mortgage is", "is the mortgage", "the card is"], known, 100)
    assert first @ alike == pytest.approx(1)
    assert abs(first @ other) < 0.25


def test_a_word_points_in_the_same_direction_on_every_machine() -> None:
    [found] = sketches(["card"], {}, 9)
    assert (found[:8] > 0).tolist() == [True, False, True, True, False, False, False, False]
