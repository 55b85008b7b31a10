"""What a window of traffic is about that the reference was not: words, rows and slices, each with how sure that is.

Not tests: whether there is a drift is said elsewhere, and these say where to look. Words and slices are scored alike, by the signed root
of the likelihood ratio of two shares, which for a share that has not changed is about standard normal; what scores below LEAST is chance
often enough to be left out, so that quiet traffic has little to explain. Rows are those that are most unlike the reference and most like
the rest of the window (the witness function of the MMD). Works on arrays; knows nothing of logs, models and decisions.

Sources: Dunning, Accurate methods for the statistics of surprise and coincidence (1993); Gretton and others, A kernel two-sample test
(JMLR, 2012), section 2.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.data.records import MISSING_GROUP, group_name
from evergreen.drift.descriptors import words as words_of

LEAST = 3.0  # score, about standard deviations, below which a word or a slice is left out
LEAST_TEXTS = 3  # texts that must use a word before it is named: a word of one person's text stays private
WORDS, ROWS, SLICES = 12, 10, 10  # of each, at most
MOST_REFERENCE = 2000  # rows of the reference that a row is compared with

Floats = NDArray[np.float64]


def changed_words(texts: Sequence[str], before: Mapping[str, int], texts_before: int, known: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return the words whose share of texts has changed most, those that rose first, each with both shares (0-1) and its score.

    `before` says how many of `texts_before` reference texts use a word, `known` how many train texts do: a word that is in neither is new.
    """
    now = Counter(word for text in texts for word in set(words_of(text)))
    scored: list[dict[str, Any]] = []
    for word in sorted({*now, *before}):
        counts = now[word], before.get(word, 0)
        if max(counts) >= LEAST_TEXTS and abs(score := surprise(counts[0], len(texts), counts[1], texts_before)) >= LEAST:
            shares = {"now": counts[0] / max(1, len(texts)), "before": counts[1] / max(1, texts_before)}
            scored.append({"word": word, **shares, "score": round(score, 2), "new": not (counts[1] or known.get(word))})
    rose = sorted((one for one in scored if one["score"] > 0), key=lambda one: -one["score"])
    fell = sorted((one for one in scored if one["score"] < 0), key=lambda one: one["score"])
    return rose[:WORDS] + fell[: WORDS // 2]


def changed_slices(now: pd.DataFrame, before: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the values of each column whose share of rows has changed most, the surest first.

    Both tables hold the same columns of names (predictions, groups, context, bins of length); "missing" in every row: left out.
    """
    found: list[dict[str, Any]] = []
    for column in now.columns:
        if {*now[column]} == {MISSING_GROUP}:
            continue
        counts = Counter(now[column].astype(str)), Counter(before[column].astype(str))
        for name in sorted({*counts[0], *counts[1]}):
            score = surprise(counts[0][name], len(now), counts[1][name], len(before))
            if abs(score) >= LEAST:
                shares = {"now": counts[0][name] / len(now), "before": counts[1][name] / len(before)}
                found.append({"by": group_name(str(column)), "name": name, **shares, "score": round(score, 2)})
    return sorted(found, key=lambda one: -abs(one["score"]))[:SLICES]


def telling_rows(now: NDArray[Any], before: NDArray[Any]) -> list[int]:
    """Return the positions of the rows that tell most of the change, from embeddings of N and M rows, near-copies left out."""
    if not len(now) or not len(before):
        return []
    witness_N = _kernel_mean(now, now) - _kernel_mean(now, before)
    unit_NE = now / np.maximum(np.linalg.norm(now, axis=1, keepdims=True), 1e-12)
    chosen: list[int] = []
    for row in np.argsort(-witness_N, kind="stable"):
        if len(chosen) == ROWS or witness_N[row] <= 0:
            break
        if all(float(unit_NE[row] @ unit_NE[other]) < 0.95 for other in chosen):
            chosen.append(int(row))
    return chosen


def surprise(now: int, rows_now: int, before: int, rows_before: int) -> float:
    """Return the signed root of G squared for a share that was `before / rows_before`: above 0 it rose, and 0 is no change."""
    table = np.array([[now, rows_now - now], [before, rows_before - before]], np.float64)
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / max(table.sum(), 1.0)
    terms = table * np.log(np.where(table > 0, table, 1.0) / np.where(expected > 0, expected, 1.0))
    size = math.sqrt(max(0.0, 2 * float(terms.sum())))
    return size if now * rows_before >= before * rows_now else -size


def _kernel_mean(rows: NDArray[Any], others: NDArray[Any]) -> Floats:
    """Return each row's mean similarity to the others, by a Gaussian kernel whose squared width is the mean squared distance."""
    others = others[:: max(1, math.ceil(len(others) / MOST_REFERENCE))]
    squares = (rows.astype(np.float64) ** 2).sum(axis=1)[:, None] + (others.astype(np.float64) ** 2).sum(axis=1)[None]
    distances_NM = np.maximum(squares - 2 * rows.astype(np.float64) @ others.astype(np.float64).T, 0)
    width = float(distances_NM.mean()) or 1.0
    return np.asarray(np.exp(-distances_NM / width).mean(axis=1))
