"""How often measured loss would retrain a model that has lost nothing, and how soon it finds one that has.

    python -m benchmarks.quiet_quality [--years 200]

Years of daily looks are simulated: 60 answers a day of a model that is right in 84 of 100 cases and whose confidence is right about its
chances, against a reference of 375 rows; labels come for some of the answers. Each look measures quality as the monitor does
(evergreen/monitoring/watch/quality.py) and applies `policy.measured_loss` and `policy.persistence` of params.yaml. Who gets a label
decides much, so it is varied, and the same labels are also counted plainly.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks._page import Figures, machine, publish
from evergreen.config import load_params
from evergreen.monitoring.watch.quality import MIN_ROWS, NEWEST, fair_weights, figures

DAYS, ANSWERS, REFERENCE, ACCURACY = 365, 60, 375, 0.84
POLICY = load_params(Path("params.yaml")).policy
BOUND, PERSISTENCE, SEED = float(POLICY.measured_loss or 0.03), POLICY.persistence, 17

Array = NDArray[np.float64]
# The chance that an answer gets a label, by the model's confidence and by whether it was right.
Labelling = Callable[[Array, NDArray[np.bool_]], Array]
WHO: Mapping[str, Labelling] = {
    "1 in 10, any": lambda confidence, right: np.full(len(confidence), 0.1),
    "1 in 3, any": lambda confidence, right: np.full(len(confidence), 1 / 3),
    "mostly the unsure (our own batch)": lambda confidence, right: np.exp(-6 * (confidence - 0.3)).clip(0, 1),
    "1 in 3 of the wrong, 1 in 10 of the right": lambda confidence, right: np.where(right, 0.1, 1 / 3),
}


def answers(random: np.random.Generator, rows: int, lost: Array | float = 0.0) -> tuple[Array, NDArray[np.bool_]]:
    """Return confidences, 0.84 on average, and whether the answers are right; `lost` is what they are worth less than they say."""
    confidence = 0.3 + 0.7 * random.beta(4.0, 4.0 * (1.0 / ((ACCURACY - 0.3) / 0.7) - 1.0), rows)
    return confidence, random.random(rows) < confidence - lost


def year(random: np.random.Generator, labelling: Labelling, *, lost: float = 0.0, weighted: bool = True) -> int | None:
    """Return the day (from 0) on which measured loss would first retrain, or None; from the first day `lost` is lost."""
    _, before = answers(random, REFERENCE)
    confidence, right = answers(random, DAYS * ANSWERS, lost)
    told = np.flatnonzero(random.random(len(right)) < labelling(confidence, right))
    run = 0
    for day in range(DAYS):
        newest = told[: np.searchsorted(told, (day + 1) * ANSWERS)][-NEWEST:]
        if len(newest) < MIN_ROWS:
            continue
        everyone = confidence[newest[0] : (day + 1) * ANSWERS]
        weights = fair_weights(confidence[newest], everyone) if weighted else np.ones(len(newest))
        loss = figures(right[newest], weights, before)["loss"]
        run = run + 1 if loss["low"] > BOUND else 0
        if run >= PERSISTENCE:
            return day
    return None


def false_alarms(years: int) -> Figures:
    """Return how many quiet years have a retraining for measured loss."""
    rows = []
    for name, labelling in WHO.items():
        cells = []
        for weighted in (True, False):
            random = np.random.default_rng(SEED)
            cells.append(np.mean([year(random, labelling, weighted=weighted) is not None for _ in range(years)]))
        rows.append([name, *(f"{cell:.1%}" for cell in cells)])
    return Figures("Quiet years with a retraining for measured loss", ["who gets a label", "weighted, as shipped", "counted plainly"], rows)


def delays(years: int) -> Figures:
    """Return after how many days a real loss is found."""
    losses, rows = (0.05, 0.08, 0.1, 0.15), []
    for name, labelling in list(WHO.items())[:3]:
        cells = []
        for lost in losses:
            random = np.random.default_rng(SEED)
            found = [day for _ in range(max(20, years // 4)) if (day := year(random, labelling, lost=lost)) is not None]
            share = len(found) / max(20, years // 4)
            cells.append(f"{np.median(found) + 1:.0f} days ({share:.0%})" if found else "never")
        rows.append([name, *cells])
    columns = ["who gets a label", *(f"{100 * lost:.0f} points lost" for lost in losses)]
    return Figures("Median days until a loss from the first day on is found (in how many of the years it is)", columns, rows)


def main() -> None:
    """Simulate, and publish the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quiet_quality", description="False alarms of measured loss, and its delay.")
    parser.add_argument("--years", type=int, default=200, help="simulated years behind each figure (default: 200)")
    given = parser.parse_args()
    on = machine()
    publish(
        "quiet_quality",
        title="Measured loss over a year of daily looks",
        command="python -m benchmarks.quiet_quality",
        on=on,
        tables=[false_alarms(given.years), delays(given.years)],
        notes=[
            f"{given.years:,} simulated years of {ANSWERS} answers a day; policy.measured_loss {BOUND:g}, persistence {PERSISTENCE}; "
            f"a quarter of the years for the delays.",
            "Labels told because an answer was wrong cannot be weighted away: there measured loss is no accuracy (last row).",
        ],
    )


if __name__ == "__main__":
    main()
