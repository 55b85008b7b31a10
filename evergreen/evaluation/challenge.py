"""Champion against challenger on the same test rows: who is right more often, what was unlearned, and what so few rows can tell.

Both judge every row, so that the difference of their accuracies is a paired one: rows on which they agree say nothing, and wins
(the challenger alone is right) and losses (the champion alone) say all. Rows that are new since the champion was trained are the
ones that it is replaced for; old ones show whether anything was forgotten. Knows nothing of models, files or what a verdict is.

Source of negative flips: Yan et al., Positive-congruent training (CVPR 2021).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.evaluation.intervals import DIGITS, Bootstrap, Integers, Interval, bootstrap, cluster_codes
from evergreen.evaluation.metrics import weighted_mean
from evergreen.evaluation.paired import mcnemar, score_interval
from evergreen.evaluation.power import chance, rows_needed, words
from evergreen.evaluation.slices import Slice

Mask = NDArray[np.bool_]
PARTS = ("new", "old", "all")


@dataclass(frozen=True)
class Bout:
    """What both versions made of the same N rows."""

    champion_N: Mask  # whether it is right
    challenger_N: Mask
    clusters_N: Integers | None  # rows of one customer, as `cluster_codes` gives them

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.champion_N)

    def of(self, mask_N: Mask) -> "Bout":
        """Return the rows of a mask."""
        clusters = None if self.clusters_N is None else cluster_codes([str(code) for code in self.clusters_N[mask_N]])
        return Bout(self.champion_N[mask_N], self.challenger_N[mask_N], clusters)


@dataclass(frozen=True)
class Terms:
    """How sure a figure must be, and the loss that would not matter (the margin, set before anything was seen)."""

    resamples: int
    level: float
    seed: int
    margin: float | None


def is_new(table: pd.DataFrame, since: datetime | date | None) -> Mask:
    """Return which rows are dated `since` or later (N,); none where `since` is None, all without dates."""
    if since is None:
        return np.zeros(len(table), bool)
    if "timestamp" not in table.columns:
        return np.ones(len(table), bool)
    moment = pd.Timestamp(since)
    moment = moment if moment.tzinfo is None else moment.tz_convert("UTC").tz_localize(None)
    return np.asarray((table["timestamp"] >= moment).to_numpy(bool))


def compared(bout: Bout, new_N: Mask, *, terms: dict[str, Terms]) -> dict[str, Any]:
    """Return the figures of the new, the old and all rows (None for a part without rows).

    Where no row is new in particular, all are judged as new: a champion stands against a challenger, and there is no other test.
    """
    new_N = new_N if new_N.any() else np.ones(bout.rows, bool)
    masks = {"new": new_N, "old": ~new_N, "all": np.ones(bout.rows, bool)}
    return {name: figures(bout.of(masks[name]), terms=terms[name], noun=noun) for name, noun in zip(PARTS, _nouns(masks), strict=True)}


def _nouns(masks: dict[str, Mask]) -> tuple[str, str, str]:
    return ("new row" if masks["old"].any() else "row", "old row", "row")


def figures(bout: Bout, *, terms: Terms, noun: str = "row") -> dict[str, Any] | None:
    """Return accuracy of both, their difference, flips, exact McNemar and power on these rows; None without rows."""
    if not bout.rows:
        return None
    wins_N, losses_N = bout.challenger_N & ~bout.champion_N, bout.champion_N & ~bout.challenger_N
    wins, losses = int(wins_N.sum()), int(losses_N.sum())
    drawn = _drawn(bout, wins_N, losses_N, terms)
    difference = _wider(drawn.lead("challenger", "champion"), score_interval(wins, losses, bout.rows, level=terms.level))
    found = {
        "rows": bout.rows,
        "champion": drawn.interval("champion").report(),
        "challenger": drawn.interval("challenger").report(),
        "difference": difference.report(),
        "wins": wins,
        "losses": losses,
        "mcnemar_p": round(mcnemar(wins, losses), DIGITS),
        "negative_flips": drawn.interval("losses").report(),
        "positive_flips": drawn.interval("wins").report(),
        "power": None,
    }
    if terms.margin is not None:
        found["power"] = _power(bout, drawn, wins + losses, terms, noun)
    return found


def sliced(bout: Bout, slices: Sequence[Slice], *, terms: Terms, min_rows: int) -> list[dict[str, Any]]:
    """Return the difference in each slice; one with fewer rows than `min_rows` has none."""
    found = []
    for part in slices:
        row: dict[str, Any] = {"by": part.by, "slice": part.name, "rows": part.rows, "outcome": "insufficient", "difference": None}
        if part.rows >= min_rows:
            measured = figures(bout.of(part.mask), terms=terms)
            row |= {
                "outcome": "ok",
                **{name: (measured or {})[name] for name in ("champion", "challenger", "difference", "wins", "losses")},
            }
        found.append(row)
    return found


def worst_slice(slices: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the slice that has lost most beyond doubt: the one whose interval's upper end is lowest."""
    judged = [part for part in slices if part["difference"]]
    return min(judged, key=lambda part: (part["difference"]["high"], part["difference"]["value"]), default=None)


def _drawn(bout: Bout, wins_N: Mask, losses_N: Mask, terms: Terms) -> Bootstrap:
    marks = {"champion": bout.champion_N, "challenger": bout.challenger_N, "wins": wins_N, "losses": losses_N}
    statistics = {name: partial(weighted_mean, mark.astype(np.float64)) for name, mark in marks.items()}
    return bootstrap(statistics, rows=bout.rows, resamples=terms.resamples, level=terms.level, seed=terms.seed, clusters=bout.clusters_N)


def _wider(drawn: Interval, scored: Interval) -> Interval:
    """Return the interval with the farther of the ends of both: a bootstrap of a few disagreements is too short, or has no width."""
    return Interval(drawn.value, min(drawn.low, scored.low), max(drawn.high, scored.high))


def _power(bout: Bout, drawn: Bootstrap, apart: int, terms: Terms, noun: str) -> dict[str, Any]:
    """Return how often a true tie, gain or loss would pass a test for a loss of at most the margin, on rows such as these."""
    assert terms.margin is not None
    disagreement = max(apart, 1) / bout.rows
    spread = float(np.std(drawn.draws["challenger"] - drawn.draws["champion"]))
    # Rows of one customer resemble each other: so many rows tell as much as fewer that stand for themselves.
    worth = min(1.0, disagreement / bout.rows / spread**2) if spread else 1.0
    rows = max(1, round(bout.rows * worth))
    truths = {"loss": -terms.margin, "tie": 0.0, "gain": terms.margin}
    passes = {
        name: round(chance(truth, rows=rows, disagreement=disagreement, margin=terms.margin, level=terms.level), 4)
        for name, truth in truths.items()
    }
    needed = rows_needed(disagreement=disagreement, margin=terms.margin, level=terms.level)
    needed = None if needed is None else round(needed / worth)
    said = words(passes, rows=bout.rows, noun=noun, margin=terms.margin, needed=needed)
    return {"margin": terms.margin, "disagreement": round(disagreement, DIGITS), "passes": passes, "rows_needed": needed, "words": said}
