"""What the model is worth on texts whose labels nobody has told yet: an estimate from its own probabilities, with its assumption.

Confidence-based performance estimation: how often an answer of a given confidence is right is learnt on the reference (a logistic curve
over the confidence's logit, on top of the model's own calibration), and averaged over the window's confidences. Knows nothing of drift
tests.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from evergreen.drift.assumption import ASSUMPTION
from evergreen.drift.label_shift import label_shift
from evergreen.drift.reference import Reference

RESAMPLES = 500
STEPS, LARGEST_STEP = 25, 1.0  # of Newton's method
PRIOR = 1.0  # rows' worth of belief that the model's own calibration is right; keeps the curve finite where all answers are right
CLIP = 1e-6

Doubles = NDArray[np.float64]


def estimate(reference: Reference, probabilities: NDArray[Any], *, level: float = 0.95, seed: int) -> dict[str, Any]:
    """Return `facts["estimate"]` of a window from its probabilities, shape (N, labels): accuracy, loss, shares of labels.

    `loss` is the reference's accuracy minus the window's. The intervals hold what chance does to the window's answers and to the
    reference's; not that the assumption may be wrong. `labels` is null where the reference cannot tell them apart.
    """
    random = np.random.default_rng(seed)
    before = reference.rows.probabilities
    right = (np.array(reference.labels, dtype=object)[before.argmax(axis=1)] == reference.truth).astype(float)
    known, asked = _logit(before.max(axis=1)), _logit(probabilities.max(axis=1))
    weights_BN = np.concatenate([np.ones((1, len(right))), random.multinomial(len(right), np.full(len(right), 1 / len(right)), RESAMPLES)])
    curves = _curves(known, right, weights_BN)
    expected_B, spread_B = _expected(curves, asked)
    accuracy_B = np.clip(expected_B + spread_B * np.concatenate([[0.0], random.standard_normal(RESAMPLES)]), 0, 1)
    loss_B = weights_BN @ right / len(right) - accuracy_B
    return {
        "accuracy": _interval(accuracy_B, level),
        "loss": _interval(loss_B, level),
        "assumption": ASSUMPTION,
        "labels": label_shift(before, reference.truth, probabilities, reference.labels, level=level, seed=seed),
    }


def _curves(known: Doubles, right: Doubles, weights_BN: NDArray[Any]) -> Doubles:
    """Return intercept and slope of the curve for each row of weights, shape (B, 2), by penalised maximum likelihood."""
    design_N2 = np.stack([np.ones(len(known)), known], axis=1)
    start = np.array([0.0, 1.0])
    curves = np.tile(start, (len(weights_BN), 1))
    for _ in range(STEPS):
        chance_BN = expit(curves @ design_N2.T)
        slope_B2 = (weights_BN * (right - chance_BN)) @ design_N2 - PRIOR * (curves - start)
        information = np.einsum("bn,ni,nj->bij", weights_BN * chance_BN * (1 - chance_BN), design_N2, design_N2, optimize=True)
        step = np.linalg.solve(information + PRIOR * np.eye(2), slope_B2[:, :, None])[:, :, 0]
        curves = curves + np.clip(step, -LARGEST_STEP, LARGEST_STEP)
    return np.asarray(curves)


def _expected(curves_B2: Doubles, asked: Doubles) -> tuple[Doubles, Doubles]:
    """Return the expected share of right answers by each curve, and the standard deviation of that share among so many answers."""
    chance_BM = expit(curves_B2[:, :1] + curves_B2[:, 1:] * asked)
    spread = np.sqrt((chance_BM * (1 - chance_BM)).sum(axis=1)) / len(asked)
    return np.asarray(chance_BM.mean(axis=1)), np.asarray(spread)


def _interval(values_B: Doubles, level: float) -> dict[str, float]:
    """Return the first value with the percentile interval of the others."""
    low, high = np.quantile(values_B[1:], [(1 - level) / 2, (1 + level) / 2])
    return {"value": float(values_B[0]), "low": float(min(low, values_B[0])), "high": float(max(high, values_B[0]))}


def _logit(confidences: NDArray[Any]) -> Doubles:
    clipped = np.clip(np.asarray(confidences, np.float64), CLIP, 1 - CLIP)
    return np.asarray(np.log(clipped / (1 - clipped)))
