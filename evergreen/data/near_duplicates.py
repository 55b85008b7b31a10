"""Near-duplicates: pairs of texts whose character 5-grams overlap by a given Jaccard similarity or more.

MinHash signatures in bands (locality-sensitive hashing, Broder 1997; Leskovec et al., Mining of Massive Datasets, ch. 3)
propose pairs; each is then verified by its exact similarity. 100,000 short texts take well under a minute.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]

SHINGLE = 5  # characters
MISSED = 1e-3  # chance to miss a pair that is exactly as similar as the threshold
MOST_HASHES = 256
# In a bucket with more texts than this, each is compared with its neighbours by length only: similar texts are similarly long.
NEIGHBOURS = 64
CHUNK = 100_000  # pairs verified at once
HASH_SEED = 5  # of the hash functions; the found pairs hardly depend on it, and results must not change from run to run


def fold(texts: Sequence[str]) -> list[str]:
    """Return texts without differences of case and of outer and repeated whitespace: what is equal then counts as equal."""
    return [" ".join(text.casefold().split()) for text in texts]


def near_duplicate_pairs(texts: Sequence[str], *, threshold: float) -> Ints:
    """Return the pairs (i < j) of N distinct folded texts with a Jaccard similarity of at least `threshold`.

    Shape (pairs, 2), sorted. A pair exactly at the threshold is missed with a chance of 1 in 1,000, a closer one more rarely.
    """
    if len(texts) < 2:
        return np.empty((0, 2), np.int64)
    owners, hashes = _shingles(texts)
    vocabulary, codes = np.unique(hashes, return_inverse=True)
    sets = csr_matrix((np.ones(len(codes), np.int32), (owners, codes)), shape=(len(texts), len(vocabulary)))
    sizes = np.diff(sets.indptr)
    starts = np.searchsorted(owners, np.arange(len(texts)))
    candidates: Ints = np.empty(0, np.int64)
    rows_per_band, bands = _banding(threshold)
    random = np.random.default_rng(HASH_SEED)
    for _ in range(bands):
        key = np.zeros(len(texts), np.uint64)
        for _ in range(rows_per_band):
            factor, offset = random.integers(1, 2**63, 2, dtype=np.uint64) | np.uint64(1)
            least = np.minimum.reduceat(_mixed(hashes * factor + offset), starts)
            key = _mixed(key * np.uint64(0x9E3779B97F4A7C15) + least)
        candidates = np.union1d(candidates, _bucket_pairs(key, sizes))
    pairs = np.stack(np.divmod(candidates, len(texts)), axis=1)
    return np.asarray(pairs[_similarities(sets, sizes, pairs) >= threshold - 1e-12])


def _shingles(texts: Sequence[str]) -> tuple[Ints, Hashes]:
    """Return owner (row of the text) and hash of every distinct shingle, sorted by owner; each text has one at least."""
    lengths = np.array([max(len(text), SHINGLE) for text in texts], np.int64)
    # A text shorter than a shingle is filled up with NUL, so that it has exactly one.
    codes = np.frombuffer("".join(text.ljust(SHINGLE, "\0") for text in texts).encode("utf-32-le", "surrogatepass"), np.uint32).astype(
        np.uint64
    )
    owners = np.repeat(np.arange(len(texts)), lengths)
    hashes = np.zeros(max(len(codes) - SHINGLE + 1, 0), np.uint64)
    for place in range(SHINGLE):
        hashes = _mixed(hashes * np.uint64(0x100000001B3) + codes[place : place + len(hashes)])
    inside = owners[: len(hashes)] == owners[SHINGLE - 1 :]
    owners, hashes = owners[: len(hashes)][inside], hashes[inside]
    order = np.lexsort((hashes, owners))
    owners, hashes = owners[order], hashes[order]
    new = np.ones(len(owners), bool)
    new[1:] = (owners[1:] != owners[:-1]) | (hashes[1:] != hashes[:-1])
    return owners[new], hashes[new]


def _mixed(values: Hashes) -> Hashes:
    """Return well-mixed 64-bit values (the finaliser of splitmix64, shortened)."""
    values = values ^ (values >> np.uint64(30))
    values = values * np.uint64(0xBF58476D1CE4E5B9)
    return values ^ (values >> np.uint64(27))


def _banding(threshold: float) -> tuple[int, int]:
    """Return rows per band and bands: the most selective that misses a pair at the threshold with a chance of at most MISSED."""
    best = (1, MOST_HASHES)
    for rows in range(1, 17):
        chance = min(threshold**rows, 1 - 1e-9)
        bands = int(np.ceil(np.log(MISSED) / np.log1p(-chance)))
        if rows * bands <= MOST_HASHES:
            best = (rows, max(bands, 1))
    return best


def _bucket_pairs(key: Hashes, sizes: NDArray[np.int32]) -> Ints:
    """Return the pairs of texts with equal keys, each as `low * texts + high`."""
    order = np.lexsort((sizes, key))
    same = np.flatnonzero(key[order][1:] == key[order][:-1])
    found = []
    step = 1
    # Rows of one bucket are neighbours in the order: compare each row with the next, the one after that, and so on.
    while len(same) and step <= NEIGHBOURS:
        left, right = order[same], order[same + step]
        found.append(np.minimum(left, right) * len(key) + np.maximum(left, right))
        step += 1
        same = same[same + step < len(key)]
        same = same[key[order[same]] == key[order[np.minimum(same + step, len(key) - 1)]]]
    return np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)


def _similarities(sets: csr_matrix, sizes: NDArray[np.int32], pairs: Ints) -> NDArray[np.float64]:
    """Return the Jaccard similarity of each pair of rows of a binary matrix."""
    shared = np.empty(len(pairs), np.int64)
    for begin in range(0, len(pairs), CHUNK):
        left, right = pairs[begin : begin + CHUNK].T
        shared[begin : begin + CHUNK] = np.asarray(sets[left].multiply(sets[right]).sum(axis=1)).ravel()
    union = sizes[pairs[:, 0]] + sizes[pairs[:, 1]] - shared
    return np.asarray(shared / union)
