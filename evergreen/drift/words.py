"""The words of texts as numbers: a sketch of each text for the tests, and how many texts use a word for explanations.

A sketch adds up a random direction for each word (feature hashing, Weinberger 2009), rarer words weighing more, and has length 1: which
words differ shows in its mean, but the words of one text cannot be read from it. Knows nothing of models or tests.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from evergreen.drift.descriptors import words

SIZE = 256  # numbers of a sketch
LEAST_TEXTS = 2  # texts that must use a word before it is counted: a word of one person's text stays private


def counts(texts: Sequence[str], least: int = LEAST_TEXTS) -> dict[str, int]:
    """Return, for each word that at least `least` texts use, how many do; sorted by word."""
    found = Counter(word for text in texts for word in set(words(text)))
    return {word: number for word, number in sorted(found.items()) if number >= least}


def sketches(texts: Sequence[str], known: Mapping[str, int], texts_known: int) -> NDArray[np.float32]:
    """Return a sketch of each of N texts, shape (N, SIZE).

    `known` says how many of `texts_known` other texts use a word; a word that is not among them weighs as one that none used.
    """
    sketch_NS = np.zeros((len(texts), SIZE), np.float32)
    for row, text in enumerate(texts):
        for word in sorted(set(words(text))):
            sketch_NS[row] += math.log((1 + texts_known) / (1 + known.get(word, 0))) * _direction(word)
    lengths = np.linalg.norm(sketch_NS, axis=1, keepdims=True)
    return np.asarray(sketch_NS / np.where(lengths > 0, lengths, 1), np.float32)


@lru_cache(maxsize=50_000)
def _direction(word: str) -> NDArray[np.float32]:
    """Return SIZE signs that belong to a word, the same on every machine."""
    digest = blake2b(word.encode("utf-8", "surrogatepass"), digest_size=SIZE // 8).digest()
    return np.asarray(np.unpackbits(np.frombuffer(digest, np.uint8)) * 2.0 - 1.0, np.float32)
