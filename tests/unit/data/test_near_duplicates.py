import time

import numpy as np
import pytest

from evergreen.data.near_duplicates import NEIGHBOURS, fold, near_duplicate_pairs
from tests.data_factories import INBOX, shared


def grams(text: str) -> set[str]:
    return {text[place : place + 5] for place in range(max(1, len(text) - 4))}


def compared_one_by_one(texts: list[str], threshold: float) -> list[list[int]]:
    """The definition, without any hashing: every pair, exact sets of 5-grams."""
    sets = [grams(text) for text in texts]
    pairs = ((i, j) for i in range(len(texts)) for j in range(i + 1, len(texts)))
    return [[i, j] for i, j in pairs if len(sets[i] & sets[j]) / len(sets[i] | sets[j]) >= threshold - 1e-12]


def variants(number: int, seed: int) -> list[str]:
    """Distinct texts, many of them a letter or a word away from another."""
    random = np.random.default_rng(seed)
    words = np.array(["card", "letter", "refund", "branch", "statement", "lost", "stolen", "please", "again", "monday", "limit", "fee"])
    texts: dict[str, None] = {}
    while len(texts) < number:
        if texts and random.random() < 0.6:
            text = list(texts)[random.integers(len(texts))]
            place = int(random.integers(len(text)))
            text = text[:place] + str(random.integers(10)) + text[place + 1 :]
        else:
            text = " ".join(random.choice(words, random.integers(3, 14)))
        texts[text] = None
    return list(texts)


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.85, 1.0])
def test_the_pairs_are_those_of_comparing_one_by_one(threshold: float) -> None:
    texts = variants(250, seed=3)
    expected = compared_one_by_one(texts, threshold)
    found = near_duplicate_pairs(texts, threshold=threshold).tolist()
    assert len(expected) > (20 if threshold < 1 else -1)
    assert {tuple(pair) for pair in found} <= {tuple(pair) for pair in expected}
    assert len(found) >= 0.99 * len(expected)  # a pair at the very threshold may be missed once in 1,000


def test_texts_shorter_than_a_gram_pair_with_none_but_themselves() -> None:
    assert near_duplicate_pairs(["hi", "ho", "h", "", "hi there"], threshold=0.5).tolist() == []


@pytest.mark.parametrize("texts", [[], ["alone"]])
def test_too_few_texts_have_no_pairs(texts: list[str]) -> None:
    assert near_duplicate_pairs(texts, threshold=0.85).shape == (0, 2)


def test_folding_forgets_case_and_spacing() -> None:
    assert fold([" Straße  9", "STRASSE 9"]) == ["strasse 9", "strasse 9"]


def test_one_crowded_bucket_is_linked_into_one_component() -> None:
    texts = [
        f"to buy fertiliser, seeds and other farm inputs for the coming season on lot {number:03d}" for number in range(4 * NEIGHBOURS)
    ]
    pairs = near_duplicate_pairs(texts, threshold=0.85)
    seen = {0}
    for one, two in pairs.tolist():
        if one in seen:
            seen.add(two)
    assert len(seen) == len(texts)
    assert len(pairs) <= len(texts) * NEIGHBOURS * 20


def test_ten_thousand_texts_take_seconds() -> None:
    random = np.random.default_rng(0)
    words = np.array([f"word{number}" for number in range(400)])
    texts = list({" ".join(random.choice(words, 12)) for _ in range(10_000)})
    begin = time.process_time()
    near_duplicate_pairs(texts, threshold=0.85)
    assert time.process_time() - begin < 15  # measured: 1.6 s


def test_the_example_inbox_has_few_near_duplicates() -> None:
    import pandas as pd

    texts = list(dict.fromkeys(fold(pd.read_csv(INBOX / "2025-01_to_2025-08.csv")["text"].tolist())))
    assert near_duplicate_pairs(texts, threshold=0.85).tolist() == compared_on_words(texts, 0.85)


def compared_on_words(texts: list[str], threshold: float) -> list[list[int]]:
    """One by one, but only texts of similar size: Jaccard cannot exceed the ratio of the sizes."""
    sets = [grams(text) for text in texts]
    order = sorted(range(len(texts)), key=lambda row: len(sets[row]))
    found = []
    for place, i in enumerate(order):
        for j in order[place + 1 :]:
            if len(sets[i]) < threshold * len(sets[j]):
                break
            if len(sets[i] & sets[j]) / len(sets[i] | sets[j]) >= threshold:
                found.append(sorted((i, j)))
    return sorted(found)


def test_very_short_real_texts_do_not_chain_into_a_giant() -> None:
    import pandas as pd

    texts = list(dict.fromkeys(fold(pd.read_csv(shared("kiva", "kiva_default.csv"))["text"].tolist())))
    pairs = near_duplicate_pairs(texts, threshold=0.85)
    degree = np.bincount(pairs.ravel(), minlength=len(texts))
    assert 100 < len(pairs) < 1000
    assert degree.max() < 20
