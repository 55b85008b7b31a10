"""How often each label stands behind texts whose labels nobody has told: black-box shift estimation (Lipton, Wang and Smola 2018).

The reference says which probabilities the model gives to texts of each label; the mixture of them that explains the window's mean
probabilities is the window's mixture of labels. Assumes that texts of one label are what they were. Knows nothing of files or tests.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

RESAMPLES = 200
MIN_ROWS_OF_LABEL = 10  # reference rows of each label, under which nothing is said
LARGEST_CONDITION = 1e4  # of the confusion matrix, beyond which labels cannot be told apart

Doubles = NDArray[np.float64]


def label_shift(
    reference: NDArray[Any], truth: NDArray[Any], current: NDArray[Any], labels: Sequence[str], *, level: float = 0.95, seed: int
) -> dict[str, dict[str, float]] | None:
    """Return the share of each label in the window, `now` with `low` and `high`, beside its share in the `reference`.

    `reference` (N, labels) and `current` (M, labels) are probabilities, `truth` (N,) the reference's labels. None where the reference has
    too few rows of a label, or its confusion matrix cannot be solved.
    """
    member_NL = np.stack([truth == label for label in labels], axis=1).astype(np.float64)
    if not len(current) or member_NL.sum(axis=0).min() < MIN_ROWS_OF_LABEL:
        return None
    if np.linalg.cond(reference.T @ member_NL / len(member_NL)) > LARGEST_CONDITION:
        return None
    random = np.random.default_rng(seed)
    now = _mixture(reference.T @ member_NL, current.mean(axis=0))
    drawn_BL = np.stack([_redrawn(reference, member_NL, current, random) for _ in range(RESAMPLES)])
    low, high = np.quantile(drawn_BL, [(1 - level) / 2, (1 + level) / 2], axis=0)
    before = member_NL.mean(axis=0)
    return {
        label: {
            "reference": float(before[place]),
            "now": float(now[place]),
            "low": float(min(low[place], now[place])),
            "high": float(max(high[place], now[place])),
        }
        for place, label in enumerate(labels)
    }


def _redrawn(reference: NDArray[Any], member_NL: Doubles, current: NDArray[Any], random: np.random.Generator) -> Doubles:
    """Return the mixture for reference rows and window rows drawn anew (bootstrap)."""
    rows = random.integers(len(reference), size=len(reference))
    others = random.integers(len(current), size=len(current))
    return _mixture(reference[rows].T @ member_NL[rows], current[others].mean(axis=0))


def _mixture(joint_LL: Doubles, mean_L: Doubles) -> Doubles:
    """Solve for the label shares, none negative, whose mean probabilities come closest; they sum to 1."""
    members_L = np.maximum(joint_LL.sum(axis=0), 1.0)
    shares, _ = nnls(joint_LL / members_L, mean_L)
    total = float(shares.sum())
    return np.asarray(shares / total if total > 0 else np.full(len(shares), 1 / len(shares)))
