"""Numbers that describe a text without a model, so that a change of the texts shows before the answers suffer.

Works on strings of any script, offline, in the order given. Knows nothing about models, labels or drift.
"""

import re
from collections import Counter
from collections.abc import Collection, Sequence

import pandas as pd

WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
SENTENCE_END = re.compile(r"[.!?…。！？।]+")
MASK = re.compile(r"\[[A-Z]{3,}\]")

TITLES = {
    "characters": "characters",
    "words": "words",
    "sentences": "sentences",
    "mean_word_length": "characters per word",
    "nonletter_share": "share of characters that are neither letters nor spaces",
    "digit_share": "share of characters that are digits",
    "nonascii_share": "share of characters outside ASCII",
    "masked_tokens": "masked pieces of personal data, such as [EMAIL]",
    "unknown_word_share": "share of words that the vocabulary does not hold",
}


def words(text: str) -> list[str]:
    """Return the words of a text in lower case, masked tokens left out; a token that the cleaning put in is no word."""
    return WORD.findall(MASK.sub(" ", text).lower())


def vocabulary(texts: Sequence[str], min_texts: int = 2) -> list[str]:
    """Return the words that at least `min_texts` of the texts use, sorted. A word of one person's text stays private."""
    counts = Counter(word for text in texts for word in set(words(text)))
    return sorted(word for word, count in counts.items() if count >= min_texts)


def describe(texts: Sequence[str], known: Collection[str]) -> pd.DataFrame:
    """Return the descriptors of N texts, shape (N, 9), one float64 column per key of TITLES.

    Shares lie in 0-1; a text without words has a mean word length and an unknown share of 0. `known` is a vocabulary:
    describe its own texts with it and the unknown share is too low to compare with other texts'.
    """
    known = frozenset(known)
    return pd.DataFrame([_describe(text, known) for text in texts], columns=list(TITLES), dtype="float64")


def _describe(text: str, known: frozenset[str]) -> list[float]:
    found = words(text)
    masked = len(MASK.findall(text))
    size = max(1, len(text))
    return [
        len(text),
        len(found) + masked,
        max(1, len(SENTENCE_END.split(text.strip(" .!?…。！？।")))) if text.strip() else 0,
        sum(map(len, found)) / max(1, len(found)),
        sum(not (character.isalpha() or character.isspace()) for character in text) / size,
        sum(map(str.isdigit, text)) / size,
        sum(character > "\x7f" for character in text) / size,
        masked,
        sum(word not in known for word in found) / max(1, len(found)),
    ]
