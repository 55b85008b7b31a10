"""Ways in which texts change, for benchmarks: each takes texts and returns as many changed ones. Seeded; knows nothing of models."""

from collections.abc import Callable, Sequence

import numpy as np

NEW_TOPIC = (
    "since the crypto wallet update",
    "on the new smartwatch app",
    "after the open banking consent",
    "with the carbon tracker turned on",
)
ABBREVIATED = {
    "you": "u", "are": "r", "please": "pls", "because": "bc", "account": "acc", "transfer": "tfr", "why": "y", "to": "2", "for": "4",
    "payment": "pymt", "money": "cash", "what": "wot", "have": "hv", "the": "da", "my": "me", "not": "nt", "is": "iz", "with": "w",
}  # fmt: skip


def typos(texts: Sequence[str], seed: int) -> list[str]:
    """Swap two neighbouring letters in each third word."""
    random = np.random.default_rng(seed)
    return [" ".join(_swapped(word, random) if random.random() < 1 / 3 else word for word in text.split()) for text in texts]


def style(texts: Sequence[str], seed: int) -> list[str]:
    """Write as some do on a phone: lower case, no punctuation, short forms."""
    del seed
    plain = ["".join(character for character in text.lower() if character.isalnum() or character.isspace()) for text in texts]
    return [" ".join(ABBREVIATED.get(word, word) for word in text.split()) for text in plain]


def new_topic(texts: Sequence[str], seed: int) -> list[str]:
    """Add a few words about something that did not exist before."""
    random = np.random.default_rng(seed)
    return [f"{text.rstrip('.?! ')} {NEW_TOPIC[random.integers(len(NEW_TOPIC))]}" for text in texts]


def cut(texts: Sequence[str], seed: int) -> list[str]:
    """Keep the first six words: a form with a shorter field."""
    del seed
    return [" ".join(text.split()[:6]) for text in texts]


CHANGES: dict[str, Callable[[Sequence[str], int], list[str]]] = {"typos": typos, "style": style, "new topic": new_topic, "cut": cut}


def _swapped(word: str, random: np.random.Generator) -> str:
    if len(word) < 4:
        return word
    place = int(random.integers(1, len(word) - 2))
    return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
