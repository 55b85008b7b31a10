"""What a comparison on so many rows can tell: how often a challenger that truly is as good, better or worse would pass.

The rule in question is one of non-inferiority: the lower end of the interval of (challenger minus champion) lies above -margin.
A small test lets hardly anyone pass, the equally good included: whoever reads "not passed" must know it. Knows nothing of models.

Every possible count of wins and losses is weighed by its chance (exact, given the disagreement), or beyond EXACT disagreements
by the normal distribution.
"""

from collections.abc import Mapping

import numpy as np
from scipy.stats import binom, norm

from evergreen.evaluation.paired import score
from evergreen.wording import counted

EXACT = 2_000  # expected disagreements up to which every count is weighed
LIKELY = 0.8  # the chance with which a true tie should pass where rows are asked for
TINY = 1e-9


def chance(truth: float, *, rows: int, disagreement: float, margin: float, level: float) -> float:
    """Return the chance (0-1) that a challenger whose accuracy truly differs by `truth` passes.

    `disagreement` is the share of rows on which exactly one of both is right. At the margin itself (truth = -margin) about
    (1 - level) / 2 pass, which is what the rule is for; fewer where rows are few.
    """
    disagreement = min(1.0, max(disagreement, abs(truth)))
    z = float(norm.ppf((1 + level) / 2))
    if rows * disagreement > EXACT:
        spread = np.sqrt(max(disagreement - truth**2, TINY) / rows)
        return float(norm.cdf((margin + truth) / spread - z))
    of_apart = (1 + truth / disagreement) / 2  # the share of wins among the rows that tell them apart
    apart_K = np.arange(binom.ppf(TINY, rows, disagreement), binom.ppf(1 - TINY, rows, disagreement) + 1)
    wins_KW = np.broadcast_to(np.arange(apart_K[-1] + 1), (len(apart_K), int(apart_K[-1]) + 1))
    losses_KW = apart_K[:, None] - wins_KW
    weight_KW = binom.pmf(apart_K, rows, disagreement)[:, None] * binom.pmf(wins_KW, apart_K[:, None], of_apart)
    mean_KW = (wins_KW - losses_KW) / rows
    plain_KW = mean_KW - z * np.sqrt(np.maximum((wins_KW + losses_KW) / rows - mean_KW**2, 0) / rows)
    possible_KW = losses_KW >= 0
    passes_KW = possible_KW & (plain_KW >= -margin) & (score(wins_KW, np.maximum(losses_KW, 0), rows, -margin) >= z)
    return float(np.minimum(1.0, weight_KW[passes_KW].sum()))


def rows_needed(*, disagreement: float, margin: float, level: float) -> int | None:
    """Return about how many rows it takes for a true tie to pass with a chance of LIKELY; None for a margin of nothing."""
    if margin <= 0:
        return None
    z = float(norm.ppf((1 + level) / 2) + norm.ppf(LIKELY))
    return max(1, round(disagreement * (z / margin) ** 2))


def words(passes: Mapping[str, float], *, rows: int, noun: str, margin: float, needed: int | None) -> str:
    """Return it as a sentence. `passes` holds the chances of a tie, and of a gain and a loss as large as the margin."""
    said = f"With {counted(rows, noun)} a true tie passes in {_percent(passes['tie'])} of cases"
    if margin > 0:
        points = f"{100 * margin:g} points"
        said += f", a gain of {points} in {_percent(passes['gain'])}, a loss of {points} in {_percent(passes['loss'])}"
    if needed is not None and needed > rows and passes["tie"] < LIKELY:
        said += f"; for a true tie to pass in {LIKELY:.0%} it takes about {_rounded(needed):,}"
    return said + "."


def _percent(share: float) -> str:
    if 0 < share < 0.01:
        return "under 1%"
    return f"{share:.0%}" if share <= 0.99 or share == 1 else "over 99%"


def _rounded(number: int) -> int:
    """Return a number with two digits that count."""
    scale = int(10 ** max(0, len(str(number)) - 2))
    return max(1, round(number / scale) * scale)
