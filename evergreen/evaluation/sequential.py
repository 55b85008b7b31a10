"""Confidence sequences: intervals that hold at every look at once, so that a trial may be watched as it runs.

A 95% interval that is looked at after every new label misses the truth sooner or later almost for certain. The intervals
here miss it *at any look, ever* with a chance of at most 1 - level. Knows nothing of models, versions or logs; numpy alone,
because the service may ask too.

How. For outcomes d_1, d_2, ... in [-1, 1] with means m_1, m_2, ... (each given what came before) and any fixed bet b in
(-1, 1), the product of (1 + b d_i) / (1 + b m_i) is a martingale that starts at 1. The logarithm is concave, so the product of
the (1 + b m_i) is at most (1 + b m)^t with m their average so far; hence the evidence

    E_t(m) = mean over bets b of  product of (1 + b d_i) / (1 + b m)^t

lies below that martingale wherever m is the true average, and by Ville's inequality it ever reaches 1 / (1 - level) with a chance of
at most 1 - level. The interval holds every m against which the evidence has not reached that. Bets are spread evenly over their
logarithms, of both signs, so that small samples of large differences and large ones of small differences are both served.

What is assumed: outcomes lie in their range, and nothing else. They need not be alike or independent: where the world
drifts, the interval is one for the average *so far* of what was to be expected. (The empirical-Bernstein sequence of Howard and
others holds on the same terms and is much wider; the hedged bets of Waudby-Smith and Ramdas are about as tight, but they take
the mean not to move, and are wrong almost surely where it does. `python -m benchmarks.sequential` compares the three.)

Sources: Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting (JRSS B, 2024); Howard, Ramdas,
McAuliffe and Sekhon, Time-uniform, nonparametric, nonasymptotic confidence sequences (Annals of Statistics, 2021), which treats
the average of moving means; mixtures over bets: Robbins, Statistical methods related to the law of the iterated logarithm (1970).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Verdict = Literal["better", "no worse", "worse", "not yet"]

LEVEL = 0.95
STEPS = 48  # halvings of an interval no longer than 2: ends are right to 1e-14
GOLDEN = (np.sqrt(5) - 1) / 2


def _both_signs(smallest: float, largest: float, count: int) -> Floats:
    """Return `count` sizes, evenly spread over their logarithms, with both signs."""
    sizes = np.geomspace(smallest, largest, count)
    return np.concatenate([-sizes[::-1], sizes])


# A bet of size b serves best when the sum of squared outcomes is about 7 / b^2: the grids reach from 8 to 100,000.
BETS_G = _both_signs(0.008, 0.95, 28)
TILTS_G = _both_signs(0.008, 3.0, 32)  # of a share: bets of e^tilt - 1 on outcomes 0 and 1


@dataclass(frozen=True, slots=True)
class Bounds:
    """What was seen on average (NaN before the first observation), and the ends between which the truth lies at every look."""

    value: float
    low: float
    high: float


def share(successes: int, observations: int, *, level: float = LEVEL) -> Bounds:
    """Return the confidence sequence of a share in [0, 1] (an accuracy, an agreement) at this look."""
    low, high = share_bounds(successes, observations, level=level)
    return Bounds(successes / observations if observations else float("nan"), float(low), float(high))


def paired_difference(wins: int, losses: int, observations: int, *, level: float = LEVEL) -> Bounds:
    """Return the confidence sequence of the mean difference in [-1, 1] of outcomes 1 (a win), -1 (a loss) and 0 at this look.

    Of two versions that judged the same labelled requests: a win is a request that the first alone had right, a loss one that
    the second alone had right, and the mean difference is the first's accuracy minus the second's. 0 means equally good.
    """
    low, high = paired_bounds(wins, losses, observations, level=level)
    return Bounds((wins - losses) / observations if observations else float("nan"), float(low), float(high))


def unpaired_difference(
    successes: int, observations: int, other_successes: int, other_observations: int, *, level: float = LEVEL
) -> Bounds:
    """Return the confidence sequence, in [-1, 1], of one share minus another of different requests at this look.

    Each stream has an evidence of its own, and their product is one too, whichever order the streams come in; the interval holds
    every difference that some pair of shares with an unspent product has. 0 means equal shares.
    """
    value = float("nan")
    if observations and other_observations:
        value = successes / observations - other_successes / other_observations
    low, high = unpaired_bounds(successes, observations, other_successes, other_observations, level=level)
    return Bounds(value, float(low), float(high))


def verdict(low: float, high: float, margin: float | None = None) -> Verdict:
    """Return what an interval of (challenger minus champion) says, on its own terms: as often as one likes.

    better: it lies above 0. no worse: it lies above -margin, the loss that would not matter (only where a margin is
    given; it goes before "worse", which a loss too small to matter may be as well). worse: it lies below 0. Else not yet.
    """
    if margin is not None and not 0 < margin < 1:
        raise ValueError(f"a margin is a difference of shares between 0 and 1, such as 0.02; got {margin}")
    if low > 0:
        return "better"
    if margin is not None and low > -margin:
        return "no worse"
    return "worse" if high < 0 else "not yet"


def share_evidence(successes: ArrayLike, observations: ArrayLike, *, against: ArrayLike) -> Floats:
    """Return the logarithm of the evidence against a share, elementwise; 0 where nothing has been observed."""
    seen, rows, claim = np.broadcast_arrays(*(np.asarray(values, float)[..., None] for values in (successes, observations, against)))
    # exp(tilt s) / (1 + p (exp(tilt) - 1))^n: a bet of exp(tilt) - 1 on each outcome 1.
    return _log_mean(seen * TILTS_G - rows * np.log1p(claim * np.expm1(TILTS_G)))


def paired_evidence(wins: ArrayLike, losses: ArrayLike, observations: ArrayLike, *, against: ArrayLike) -> Floats:
    """Return the logarithm of the evidence against a mean difference, elementwise; 0 where nothing has been observed."""
    up, down, rows, claim = np.broadcast_arrays(*(np.asarray(values, float)[..., None] for values in (wins, losses, observations, against)))
    return _log_mean(up * np.log1p(BETS_G) + down * np.log1p(-BETS_G) - rows * np.log1p(claim * BETS_G))


def unpaired_evidence(
    successes: ArrayLike, observations: ArrayLike, other_successes: ArrayLike, other_observations: ArrayLike, *, against: ArrayLike
) -> Floats:
    """Return the logarithm of the evidence against a difference, elementwise: the least over all pairs of shares that have it."""
    seen, rows, others_seen, others, claim = (
        np.asarray(values, float) for values in np.broadcast_arrays(successes, observations, other_successes, other_observations, against)
    )

    def against_pair(share_: Floats) -> Floats:
        return share_evidence(seen, rows, against=share_) + share_evidence(others_seen, others, against=share_ - claim)

    return against_pair(_lowest(against_pair, np.maximum(0, claim), np.minimum(1, 1 + claim)))


def share_bounds(successes: ArrayLike, observations: ArrayLike, *, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Return both ends of `share` for many looks at once."""
    seen, rows = np.broadcast_arrays(np.asarray(successes, float), np.asarray(observations, float))
    _refuse(np.any((seen < 0) | (seen > rows)), "successes lie between 0 and the observations")
    return _ends(lambda claim: share_evidence(seen, rows, against=claim), seen / np.maximum(rows, 1), 0.0, 1.0, level)


def paired_bounds(wins: ArrayLike, losses: ArrayLike, observations: ArrayLike, *, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Return both ends of `paired_difference` for many looks at once."""
    up, down, rows = np.broadcast_arrays(np.asarray(wins, float), np.asarray(losses, float), np.asarray(observations, float))
    _refuse(np.any((up < 0) | (down < 0) | (up + down > rows)), "wins and losses are no more than the observations")
    centre = (up - down) / np.maximum(rows, 1)
    return _ends(lambda claim: paired_evidence(up, down, rows, against=claim), centre, -1.0, 1.0, level)


def unpaired_bounds(
    successes: ArrayLike, observations: ArrayLike, other_successes: ArrayLike, other_observations: ArrayLike, *, level: float = LEVEL
) -> tuple[Floats, Floats]:
    """Return both ends of `unpaired_difference` for many looks at once."""
    seen, rows, others_seen, others = np.broadcast_arrays(
        *(np.asarray(values, float) for values in (successes, observations, other_successes, other_observations))
    )
    wrong = (seen < 0) | (seen > rows) | (others_seen < 0) | (others_seen > others)
    _refuse(np.any(wrong), "successes lie between 0 and the observations")
    centre = seen / np.maximum(rows, 1) - others_seen / np.maximum(others, 1)
    return _ends(lambda claim: unpaired_evidence(seen, rows, others_seen, others, against=claim), centre, -1.0, 1.0, level)


def _log_mean(logs_G: Floats) -> Floats:
    """Return the logarithm of the mean of exp over the last axis."""
    top = logs_G.max(axis=-1, keepdims=True)
    return np.asarray(np.log(np.exp(logs_G - top).mean(axis=-1)) + top[..., 0])


def _ends(evidence: Callable[[Floats], Floats], centre: Floats, lowest: float, highest: float, level: float) -> tuple[Floats, Floats]:
    """Return where a convex evidence, at most 0 in the centre, reaches 1 / (1 - level) on both sides; else the range's own ends."""
    _refuse(not 0 < level < 1, f"a level lies between 0 and 1, got {level}")
    limit = -np.log1p(-level)
    ends = []
    for end in (lowest, highest):
        inside, outside = np.array(centre, float), np.full(centre.shape, end)
        unspent = evidence(outside) < limit
        for _ in range(STEPS):
            middle = (inside + outside) / 2
            within = evidence(middle) < limit
            inside, outside = np.where(within, middle, inside), np.where(within, outside, middle)
        ends.append(np.where(unspent, end, outside))  # the outer of the two: rounding may only widen
    return ends[0], ends[1]


def _lowest(function: Callable[[Floats], Floats], low: Floats, high: Floats) -> Floats:
    """Return where a convex function is lowest between two bounds, elementwise, by golden sections."""
    for _ in range(STEPS):
        span = GOLDEN * (high - low)
        left, right = high - span, low + span
        rises = function(left) < function(right)
        low, high = np.where(rises, low, left), np.where(rises, right, high)
    return np.asarray((low + high) / 2)


def _refuse(wrong: object, message: str) -> None:
    if wrong:
        raise ValueError(message)
