"""Two-sample tests on arrays: whether these rows come from where those came from.

Each test names its method and gives a statistic and a p-value; the same arrays and seed give the same figures. Knows
nothing of texts, models or files. Which rows may be compared with which is decided in docs/decisions/drift-references.md.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, kolmogorov

MIN_ROWS = 20  # rows on either side, under which no test is made
MIN_EXPECTED = 5.0  # expected count under which a category is pooled with the other rare ones (Cochran's rule)
FREQUENCIES = 128  # random Fourier frequencies of the embedding test; each gives a sine and a cosine
BANDWIDTH_ROWS = 500  # rows on which the kernel's width, the median distance, is measured
BATCH = 256  # permutations at a time
ENOUGH = 20  # permutations that beat the observed statistic, after which the p-value is known well enough


@dataclass(frozen=True)
class Outcome:
    """What a test found. `note` says in words where the change is, or why there was no test (then p_value is None)."""

    method: str
    statistic: float | None
    p_value: float | None
    note: str | None = None


def kolmogorov_smirnov(reference: NDArray[Any], current: NDArray[Any]) -> Outcome:
    """Compare two samples of numbers by the largest distance between their distribution functions (0-1, 0: none).

    The p-value is asymptotic with Stephens' (1970) correction, and conservative where values are tied.
    """
    method = "Kolmogorov-Smirnov"
    if _few(reference, current):
        return Outcome(method, None, None, _few(reference, current))
    first, second = np.sort(reference), np.sort(current)
    values = np.concatenate([first, second])
    shares = [np.searchsorted(side, values, side="right") / len(side) for side in (first, second)]
    distance = float(np.abs(shares[0] - shares[1]).max())
    root = math.sqrt(len(first) * len(second) / (len(first) + len(second)))
    rise = second.mean() - first.mean()
    note = f"{'higher' if rise > 0 else 'lower'} on average" if distance else None
    return Outcome(method, distance, float(kolmogorov(distance * (root + 0.12 + 0.11 / root))), note)


def g_test(reference: NDArray[Any], current: NDArray[Any]) -> Outcome:
    """Compare two samples of categories by the likelihood-ratio statistic G (0: equal shares).

    Categories that either side would hold fewer than 5 times, were the shares equal, are pooled into one. The p-value is
    that of chi-squared with (categories - 1) degrees of freedom (Sokal and Rohlf, Biometry).
    """
    method = "G-test, rare categories pooled"
    if _few(reference, current):
        return Outcome(method, None, None, _few(reference, current))
    counts = _pooled(Counter(map(str, reference)), Counter(map(str, current)))
    observed = np.array(list(counts.values()), dtype=np.float64).T
    expected = np.outer(observed.sum(axis=1), observed.sum(axis=0)) / observed.sum()
    terms = observed * np.log(np.where(observed > 0, observed, 1) / expected)
    statistic = max(0.0, 2 * float(terms.sum()))
    shares = observed / observed.sum(axis=1, keepdims=True)
    most = int(np.abs(shares[1] - shares[0]).argmax())
    note = f"{list(counts)[most]}: {shares[0, most]:.1%} to {shares[1, most]:.1%}"
    return Outcome(method, statistic, float(chdtrc(len(counts) - 1, statistic)) if len(counts) > 1 else 1.0, note)


def softmax_shift(reference: NDArray[Any], current: NDArray[Any], labels: Sequence[str]) -> Outcome:
    """Compare the model's probabilities, shapes (N, labels) and (M, labels), label by label with Kolmogorov-Smirnov.

    Black-box shift detection (Lipton 2018; Rabanser 2019): the smallest p-value, times the number of labels.
    """
    method = "Kolmogorov-Smirnov per label, Bonferroni (BBSD)"
    tests = [kolmogorov_smirnov(reference[:, column], current[:, column]) for column in range(len(labels))]
    known = [(test.p_value, -(test.statistic or 0.0), column) for column, test in enumerate(tests) if test.p_value is not None]
    if not known:
        return Outcome(method, None, None, _few(reference, current))
    p_value, statistic, column = min(known)
    return Outcome(method, -statistic, min(1.0, p_value * len(labels)), f"most: {labels[column]}, {tests[column].note or 'unchanged'}")


def mean_embedding(reference: NDArray[Any], current: NDArray[Any], *, smallest: float, seed: int) -> Outcome:
    """Compare two clouds of embeddings, shapes (N, size) and (M, size), by a permutation test of the squared MMD.

    The kernel is Gaussian, as wide as the median distance, and approximated by random Fourier features (Rahimi and Recht
    2007; Zhao and Meng 2015); the permutations make the p-value right whatever the approximation. There are as many
    as a p-value of `smallest` needs; they end early once 20 of them beat the observed value (Besag and Clifford 1991).
    """
    method = "MMD on random Fourier features, permutations"
    if _few(reference, current):
        return Outcome(method, None, None, _few(reference, current))
    random = np.random.default_rng(seed)
    rows_NF = _fourier(np.concatenate([reference, current]).astype(np.float32), random)
    total_F = rows_NF.sum(axis=0)
    chosen = len(reference) if len(reference) < len(current) else len(current)
    members = slice(0, chosen) if len(reference) < len(current) else slice(len(reference), None)
    observed = float(_squared_mmd(rows_NF[members].sum(axis=0)[None], total_F, chosen, len(rows_NF))[0])
    drawn = beaten = 0
    while drawn < math.ceil(2 / smallest) and beaten < ENOUGH:
        drawn += BATCH
        beaten += int((_squared_mmd(_permuted_sums(rows_NF, chosen, random), total_F, chosen, len(rows_NF)) >= observed).sum())
    return Outcome(method, observed, (1 + beaten) / (1 + drawn), f"{drawn:,} permutations")


def _fourier(rows: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """Return random Fourier features, shape (N, 2 x FREQUENCIES), of the Gaussian kernel with the median heuristic's width."""
    some = rows[random.permutation(len(rows))[:BANDWIDTH_ROWS]].astype(np.float64)
    squares = (some**2).sum(axis=1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * some @ some.T, 0))
    width = float(np.median(distances[np.triu_indices(len(some), 1)])) or 1.0
    angles = rows @ (random.standard_normal((rows.shape[1], FREQUENCIES)) / width).astype(np.float32)
    return np.asarray(np.concatenate([np.cos(angles), np.sin(angles)], axis=1) / math.sqrt(FREQUENCIES), np.float32)


def _permuted_sums(rows_NF: NDArray[np.float32], chosen: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Return the feature sums of BATCH random choices of `chosen` rows, shape (BATCH, features)."""
    member = np.zeros((BATCH, len(rows_NF)), np.float32)
    member[:, :chosen] = 1
    return np.asarray(random.permuted(member, axis=1) @ rows_NF)


def _squared_mmd(sums_BF: NDArray[Any], total_F: NDArray[Any], chosen: int, rows: int) -> NDArray[np.float64]:
    gap = sums_BF.astype(np.float64) / chosen - (total_F - sums_BF) / (rows - chosen)
    return np.asarray((gap**2).sum(axis=1))


def _pooled(reference: Counter[str], current: Counter[str]) -> dict[str, tuple[int, int]]:
    """Return the counts of both sides per category, rare categories pooled, in sorted order."""
    smaller = min(reference.total(), current.total()) / (reference.total() + current.total())
    both = {name: (reference[name], current[name]) for name in sorted({*reference, *current})}
    expected = {name: sum(pair) * smaller for name, pair in both.items()}
    pool = [name for name in both if expected[name] < MIN_EXPECTED]
    others = sorted(set(both) - set(pool), key=lambda name: (expected[name], name))
    while pool and others and sum(expected[name] for name in pool) < MIN_EXPECTED:
        pool.append(others.pop(0))
    kept = {name: both[name] for name in sorted(others)}
    if pool:
        kept["(rare ones together)"] = (sum(reference[name] for name in pool), sum(current[name] for name in pool))
    return kept


def _few(reference: NDArray[Any], current: NDArray[Any]) -> str | None:
    fewest = min(len(reference), len(current))
    return f"too few rows to test ({fewest}; at least {MIN_ROWS} are needed)" if fewest < MIN_ROWS else None
