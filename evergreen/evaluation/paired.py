"""Two versions on the same rows, by counts: `wins` (the first alone is right) and `losses` (the other alone is) among `rows`.

Knows nothing of models; intervals that are drawn from the rows themselves stand in `intervals`.

Sources: McNemar, Note on the sampling error of the difference between correlated proportions (1947), in its exact form; Tango,
Equivalence test and confidence interval for the difference in proportions for the paired-sample design (Statistics in Medicine,
1998).
"""

from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binomtest, norm

from evergreen.evaluation.intervals import Interval


def mcnemar(wins: int, losses: int) -> float:
    """Return the two-sided exact p-value of "both are right equally often": 0 to 1; 1 where they never differ."""
    return float(binomtest(wins, wins + losses, 0.5).pvalue) if wins + losses else 1.0


def score_interval(wins: int, losses: int, rows: int, *, level: float) -> Interval:
    """Return Tango's score interval of the paired difference of two shares, -1 to 1.

    It keeps its width where hardly any row tells the two apart: with no win and no loss among n rows it reaches to about 4 / n.
    """
    z = float(norm.ppf((1 + level) / 2))
    value = (wins - losses) / rows

    def ends_at(side: float) -> float:
        far = -side * (1 - 1e-9)
        found = (
            brentq(lambda truth: score(wins, losses, rows, truth) - side * z, far, value - side * 1e-12) if abs(value - far) > 1e-9 else far
        )
        return float(found)

    return Interval(value, ends_at(1.0), ends_at(-1.0))


def score(wins: Any, losses: Any, rows: Any, truth: float) -> Any:
    """Return how many standard errors the seen difference lies above a true one, elementwise (Tango's statistic)."""
    a, b, c = 2 * rows, -wins - losses + (2 * rows - wins + losses) * truth, -losses * truth * (1 - truth)
    share = (np.sqrt(np.maximum(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = rows * (2 * share + truth * (1 - truth))
    return (wins - losses - rows * truth) / np.sqrt(np.maximum(variance, 1e-300))
