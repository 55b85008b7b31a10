"""Stratification: deal groups of rows to splits so that sizes and label shares come out as asked. Pure arithmetic on counts."""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def deal(labels: Ints, groups: Ints, *, shares: Floats, seed: int) -> Ints:
    """Return the split (0 .. S-1) of each of N rows; rows of one group stay together.

    labels, groups: (N,) codes from 0 on. shares: (S,), sum 1. Groups of several rows go first, the largest before the others,
    each to the split that misses its labels most; single rows then fill what each split still needs of their label, so that
    both the size of each split and each label's share come out within rounding. Every split gets a row of every label
    that has at least S groups. The result depends on the order of rows: sort them by something stable first.
    """
    random = np.random.default_rng(seed)
    counts_GL = np.zeros((int(groups.max()) + 1, int(labels.max()) + 1), np.int64)
    np.add.at(counts_GL, (groups, labels), 1)
    sizes_G = counts_GL.sum(axis=1)
    need_SL = shares[:, None] * counts_GL.sum(axis=0)[None, :]
    split_G = np.full(len(sizes_G), -1, np.int64)

    lottery_G = random.random(len(sizes_G))
    several = np.flatnonzero(sizes_G > 1)
    for group in several[np.lexsort((lottery_G[several], -sizes_G[several]))]:
        split_G[group] = _neediest(need_SL, counts_GL[group], shares)
        need_SL[split_G[group]] -= counts_GL[group]
    debt_S = np.zeros(len(shares))
    for label in range(counts_GL.shape[1]):
        single = np.flatnonzero((sizes_G == 1) & (counts_GL[:, label] == 1))
        quota_S, debt_S = _quotas(len(single), need_SL[:, label], debt_S, shares)
        split_G[single[np.argsort(lottery_G[single])]] = np.repeat(np.arange(len(shares)), quota_S)
    _fill_gaps(split_G, counts_GL, len(shares))
    return split_G[groups]


def _neediest(need_SL: Floats, counts_L: Ints, shares: Floats) -> int:
    """Return the split that misses most, in proportion to its share, of the labels that a group holds."""
    held = counts_L > 0
    missing_S = (need_SL[:, held] * counts_L[held]).sum(axis=1) / shares
    overfull_S = need_SL.sum(axis=1) + 0.5 < counts_L.sum()
    return int(np.argmax(np.where(overfull_S & ~overfull_S.all(), -np.inf, missing_S)))


def _quotas(rows: int, need_S: Floats, debt_S: Floats, shares: Floats) -> tuple[Ints, Floats]:
    """Share out the single rows of one label as whole numbers; what rounding leaves owing is carried to the next label."""
    wanted_S = np.maximum(need_S, 0)
    wanted_S = wanted_S * (rows / wanted_S.sum()) if wanted_S.sum() else shares * rows
    quota_S = np.floor(wanted_S).astype(np.int64)
    owed_S = wanted_S - quota_S + debt_S
    for _ in range(rows - int(quota_S.sum())):
        split = int(np.argmax(owed_S))
        quota_S[split] += 1
        owed_S[split] -= 1
    return quota_S, owed_S


def _fill_gaps(split_G: Ints, counts_GL: Ints, splits: int) -> None:
    """Move a group (the smallest that will do) into each split that lacks a label which has groups enough. In place."""
    for label in range(counts_GL.shape[1]):
        holders = np.flatnonzero(counts_GL[:, label])
        if len(holders) < splits:
            continue
        for split in range(splits):
            held_S = np.bincount(split_G[holders], minlength=splits)
            if held_S[split]:
                continue
            donors = holders[split_G[holders] == int(np.argmax(held_S))]
            split_G[donors[np.argmin(counts_GL[donors].sum(axis=1))]] = split
