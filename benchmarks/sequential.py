"""What it costs to look often: false verdicts, widths, and how many labels a difference takes to be seen.

    python -m benchmarks.sequential [--runs 1000]

Champion and challenger are simulated; every look is after one more label. Three confidence sequences are compared: ours, the
hedged bets of Waudby-Smith and Ramdas (2024, section 4.2) and the stitched empirical-Bernstein sequence of Howard and others
(2021, theorem 4 with the bound of equation 10), against a 95% interval that is simply computed again at each look.
"""

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from benchmarks._page import Figures, machine, publish
from evergreen.evaluation.sequential import paired_bounds, paired_evidence, share_bounds, unpaired_bounds, unpaired_evidence

Array = NDArray[np.float64]
ALPHA = 0.05
LIMIT = -np.log(ALPHA)
SIZES = (200, 500, 1000, 2000, 5000)
CHUNK = 25  # runs at a time
SEED = 17


def outcomes(runs: int, looks: int, disagreement: float, difference: float | Array) -> Iterator[Array]:
    """Yield chunks (runs, looks) of 1 (the challenger alone is right), -1 (the champion alone) and 0."""
    random = np.random.default_rng(SEED)
    wins = (disagreement + np.broadcast_to(difference, looks)) / 2
    for start in range(0, runs, CHUNK):
        luck = random.random((min(CHUNK, runs - start), looks))
        yield np.where(luck < wins, 1.0, np.where(luck < disagreement, -1.0, 0.0))


def naive(seen: Array, truth: Array) -> Array:
    """Return at which looks the 95% interval of the mean, computed as if this look were the only one, misses the truth."""
    rows = np.arange(1, seen.shape[1] + 1)
    mean = np.cumsum(seen, axis=1) / rows
    spread = np.sqrt(np.maximum(np.cumsum(seen**2, axis=1) / rows - mean**2, 0) / rows)
    missed = np.abs(mean - truth) > 1.96 * spread
    missed[:, :30] = False  # nobody trusts it before
    return missed


def ours(seen: Array, truth: Array) -> Array:
    """Return at which looks our sequence misses the truth."""
    wins, losses = np.cumsum(seen > 0, axis=1), np.cumsum(seen < 0, axis=1)
    return paired_evidence(wins, losses, np.arange(1, seen.shape[1] + 1), against=truth) >= LIMIT


def hedged(seen: Array, truth: Array) -> Array:
    """Return at which looks the hedged bets rule the truth out; outcomes are moved to [0, 1]."""
    values, mean = (seen + 1) / 2, (np.broadcast_to(truth, seen.shape) + 1) / 2
    bets = hedged_bets(values)
    up = np.cumsum(np.log1p(np.minimum(bets, 0.75 / mean) * (values - mean)), axis=1)
    down = np.cumsum(np.log1p(-np.minimum(bets, 0.75 / (1 - mean)) * (values - mean)), axis=1)
    return np.maximum(up, down) + np.log(0.5) >= LIMIT


def hedged_bets(values: Array) -> Array:
    """Return the predictable plug-in bets, each from what came before it."""
    place = np.arange(1, values.shape[1] + 1)
    mean = (0.5 + np.cumsum(values, axis=1)) / (place + 1)
    variance = (0.25 + np.cumsum((values - mean) ** 2, axis=1)) / (place + 1)
    before = np.concatenate([np.full((len(values), 1), 0.25), variance[:, :-1]], axis=1)
    return np.sqrt(2 * np.log(2 / ALPHA) / (before * place * np.log1p(place)))


def bernstein(seen: Array, truth: Array) -> Array:
    """Return at which looks the empirical-Bernstein sequence misses the truth."""
    rows = np.arange(1, seen.shape[1] + 1)
    return np.abs(np.cumsum(seen, axis=1) / rows - truth) > bernstein_width(seen)


def bernstein_width(seen: Array) -> Array:
    """Return half the width of the stitched sequence for outcomes in [-1, 1] at every look."""
    rows = np.arange(1, seen.shape[1] + 1)
    sums = np.cumsum(seen, axis=1)
    before = np.concatenate([np.zeros((len(seen), 1)), sums[:, :-1] / rows[:-1]], axis=1)
    spent = np.maximum(np.cumsum((seen - before) ** 2, axis=1), 10.0)  # tuned for a sum of squares of 10 and more
    eta, power, scale = 2.0, 1.4, 2.0
    zeta = float(np.sum(np.arange(1, 10_000) ** -power)) + 10_000 ** (1 - power) / (power - 1)
    log = power * np.log(np.log(eta * spent / 10.0) / np.log(eta)) + np.log(2 * zeta / ALPHA)
    first, second = (eta**0.25 + eta**-0.25) / np.sqrt(2), (np.sqrt(eta) + 1) / 2
    return np.asarray((first * np.sqrt(spent * log) + second * scale * log) / rows)


METHODS: dict[str, Callable[[Array, Array], Array]] = {
    "95% interval at each look": naive,
    "ours": ours,
    "hedged bets": hedged,
    "empirical Bernstein": bernstein,
}


def false_verdicts(runs: int) -> Figures:
    """Return how often the truth is ruled out at any of 5,000 looks: in a still world, and in two that move."""
    looks = SIZES[-1]
    place = np.arange(looks)
    worlds = {
        "no difference": np.zeros(looks),
        "5 points, still": np.full(looks, 0.05),
        "+10, then -10 points": np.where(place < 500, 0.1, -0.1),
        "slow swing of 10 points": 0.1 * np.sin(place / 300),
    }
    rows = []
    for name, method in METHODS.items():
        row = [name]
        for difference in worlds.values():
            truth = np.cumsum(difference) / (place + 1)
            row.append(
                f"{np.concatenate([method(seen, truth).any(axis=1) for seen in outcomes(runs, looks, 0.12, difference)]).mean():.1%}"
            )
        rows.append(row)
    return Figures("Truth ruled out at any of 5,000 looks, one per label (12% disagreement)", ["interval", *worlds], rows)


def widths() -> Figures:
    """Return half the width of each interval in points, at a difference of 0."""
    runs = 20
    seen = next(outcomes(runs, SIZES[-1], 0.12, 0.0))
    wins, losses = np.cumsum(seen > 0, axis=1), np.cumsum(seen < 0, axis=1)
    table: dict[str, list[float]] = {name: [] for name in METHODS}
    grid = np.linspace(-0.3, 0.3, 601)
    for size in SIZES:
        up, down = wins[:, size - 1], losses[:, size - 1]
        low, high = paired_bounds(up, down, size)
        table["95% interval at each look"].append(
            float(np.mean(1.96 * np.sqrt((up + down) / size - ((up - down) / size) ** 2) / size**0.5))
        )
        table["ours"].append(float(np.mean(high - low)) / 2)
        table["empirical Bernstein"].append(float(bernstein_width(seen)[:, size - 1].mean()))
        kept = sum(~hedged(seen[:, :size], np.full((1, size), at))[:, -1] for at in grid)
        table["hedged bets"].append(float(np.mean(kept)) * (grid[1] - grid[0]) / 2)
    rows = [[name, *(f"{100 * width:.1f}" for width in row)] for name, row in table.items()]
    return Figures(
        "Half the interval's width in points, after so many labels (12% disagreement)", ["interval", *map(_thousands, SIZES)], rows
    )


def two_streams() -> Figures:
    """Return half the width of an unpaired difference, beside what two separate intervals would give."""
    rows = []
    for share in (0.1, 0.5):
        joint, apart = [f"canary of {share:.0%}, together"], [f"canary of {share:.0%}, two intervals apart"]
        for size in SIZES:
            of, others = int(size * share), size - int(size * share)
            low, high = unpaired_bounds(round(0.85 * of), of, round(0.85 * others), others)
            joint.append(f"{50 * (high - low):.1f}")
            ends = [share_bounds(round(0.85 * count), count, level=1 - ALPHA / 2) for count in (of, others)]
            apart.append(f"{50 * sum(top - bottom for bottom, top in ends):.1f}")
        rows += [joint, apart]
    return Figures(
        "The same for two arms of a canary, both 85% right, after so many labels in all", ["interval", *map(_thousands, SIZES)], rows
    )


def needed(runs: int) -> Figures:
    """Return the labels after which 80% of the trials have found the better version."""
    rows = []
    for disagreement in (0.10, 0.12, 0.15):
        row = [f"shadow, {disagreement:.0%} disagreement"]
        for difference in (0.02, 0.05, 0.10):
            looks = {0.02: 20_000, 0.05: 5_000, 0.10: 1_000}[difference]
            found = [first(ours(seen, np.zeros(1))) for seen in outcomes(runs, looks, disagreement, difference)]
            row.append(_thousands(_eighty(np.concatenate(found), looks)))
        rows.append(row)
    for share in (0.1, 0.5):
        row = [f"canary of {share:.0%}, champion 85% right"]
        for difference in (0.02, 0.05, 0.10):
            row.append(_thousands(_canary(share, difference, runs // 10)))
        rows.append(row)
    return Figures("Labels until 4 of 5 trials have seen the difference", ["trial", "2 points", "5 points", "10 points"], rows)


def _canary(share: float, difference: float, runs: int) -> float:
    looks = int({0.02: 160, 0.05: 26, 0.10: 7}[difference] * 1000 * (1 if share < 0.5 else 0.4))
    every = looks // 200
    random = np.random.default_rng(SEED)
    found = []
    for _ in range(runs):
        canary = random.random(looks) < share
        right = random.random(looks) < np.where(canary, 0.85 + difference, 0.85)
        streams = [np.cumsum(chosen)[every - 1 :: every] for chosen in (right & canary, canary, right & ~canary, ~canary)]
        found.append(first((unpaired_evidence(*streams, against=0.0) >= LIMIT)[None])[0] * every)
    return _eighty(np.array(found), looks)


def first(hits: NDArray[np.bool_]) -> Array:
    """Return the number of the first look (from 1) that hits, infinity where none does."""
    return np.where(hits.any(axis=1), hits.argmax(axis=1) + 1.0, np.inf)


def _eighty(found: Array, looks: int) -> float:
    at = float(np.quantile(found, 0.8, method="higher"))
    return at if at <= looks else np.inf


def _thousands(number: float) -> str:
    return f"{int(number):,}" if np.isfinite(number) else "more"


def main() -> None:
    """Simulate, and publish the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sequential", description="What it costs to look often.")
    parser.add_argument("--runs", type=int, default=1000, help="simulated trials behind each figure (default: 1000)")
    given = parser.parse_args()
    on = machine()
    publish(
        "sequential",
        title="Looking after every label",
        command="python -m benchmarks.sequential",
        on=on,
        tables=[false_verdicts(given.runs), widths(), two_streams(), needed(given.runs)],
        notes=[
            f"{given.runs:,} simulated trials a figure (a tenth of them for canaries, looked at 200 times each); level 95%.",
            "In a world that moves, the truth is the average so far of what was to be expected. Hedged bets presuppose a mean that stays.",
        ],
    )


if __name__ == "__main__":
    main()
