"""How often a year of quiet windows raises an alarm: the stated chance, measured.

    python -m benchmarks.quiet_years [--years 1000] [--rows 60] [--model CHECKOUT]

Each year has a reference of its own and 30 windows, all drawn from one pool of real rows (every text of the example's source, as its
model sees it), so nothing ever changes. Windows are judged as the monitor judges them: by themselves, and the newest seven together.
"""

import argparse
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from benchmarks._observed import ROOT, classifier, observed, reference_of, settings, split, vocabulary
from benchmarks._page import Figures, machine, publish
from evergreen.drift.alarms import judge
from evergreen.drift.calibration import Calibration
from evergreen.drift.rows import Seen, Vocabulary
from evergreen.sections.pipeline import SPLITS

WINDOWS = 30  # of a year
REFERENCE = 375  # rows
CHANCE = 0.05
SEED = 17


def year(
    number: int, pool: Seen, labels: tuple[str, ...], known: Vocabulary, calibration: Calibration, rows: int
) -> list[tuple[float, bool]]:
    """Return the p-value of each of a year's windows, and whether it alarms."""
    random = np.random.default_rng([SEED, number])
    reference = reference_of(pool.take(random.integers(len(pool), size=REFERENCE)), [""] * REFERENCE, labels, known, calibration)
    knobs = settings(false_alarms=CHANCE, windows=WINDOWS, seed=number)
    windows: list[Seen] = []
    found = []
    for place in range(1, WINDOWS + 1):
        windows.append(pool.take(random.integers(len(pool), size=rows)))
        facts = judge(reference, windows[-1], number=place, settings=knobs, earlier=windows[:-1])
        found.append((facts["p_value"], facts["alarm"]))
    return found


def years(number: int, rows: int, model_root: Path) -> Iterator[list[tuple[float, bool]]]:
    """Yield the years, worked on by a process per core."""
    model = classifier(model_root)
    tables = [split(name, model_root) for name in SPLITS]
    known = vocabulary(tables[0]["text"].tolist())
    pool = observed(pd.concat(tables, ignore_index=True), model, known)
    first = pool.take(np.random.default_rng(SEED).integers(len(pool), size=REFERENCE))
    calibration = reference_of(first, [""] * REFERENCE, model.labels, known).calibration
    one = partial(year, pool=pool, labels=model.labels, known=known, calibration=calibration, rows=rows)
    with ProcessPoolExecutor(os.cpu_count(), initializer=threadpool_limits, initargs=(1,)) as workers:
        for done, found in enumerate(workers.map(one, range(number), chunksize=5), 1):
            if done % 25 == 0:
                print(f"{done:,} years", flush=True)
            yield found


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--years", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=60, help="of a window")
    parser.add_argument("--model", type=Path, default=ROOT, help="a checkout in which the pipeline has run")
    given = parser.parse_args()
    on = machine(threads=1)
    found = np.array(list(years(given.years, given.rows, given.model)))
    p_values, alarms = found[:, :, 0], found[:, :, 1].astype(bool)
    loud = alarms.any(axis=1)
    error = 1.96 * np.sqrt(loud.mean() * (1 - loud.mean()) / len(loud))
    rows = [
        ["years", f"{len(found):,}"],
        ["windows of a year, and rows of each", f"{WINDOWS}, {given.rows}"],
        ["years with an alarm, wanted at most", f"{CHANCE:.1%}"],
        ["years with an alarm, measured", f"{loud.mean():.1%} (± {error:.1%})"],
        ["windows with an alarm", f"{alarms.mean():.3%}, at most {CHANCE / WINDOWS:.3%} wanted"],
        *([f"windows with p <= {level:g}", f"{(p_values <= level).mean():.2%}"] for level in (0.005, 0.01, 0.02)),
    ]
    notes = [
        "p is that of the whole window, both looks and all detectors together. One calibration serves all years: it decides which windows "
        "need permutations, and no alarm rests on it; p-values above 0.05 are often the calibration's.",
        "Rows are drawn with replacement, so that no pool is too small for a year: reference and windows are samples of one distribution.",
    ]
    publish(
        "quiet_years", title="Years in which nothing changes", command="python -m benchmarks.quiet_years", on=on,
        tables=[Figures("", ["what", "figure"], rows)], notes=notes,
    )  # fmt: skip


if __name__ == "__main__":
    main()
