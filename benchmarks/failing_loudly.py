"""Which shifts of texts are found, in the manner of "Failing Loudly" (Rabanser, Guennemann and Lipton, 2019), beside Evidently's default.

    python -m benchmarks.failing_loudly [--repeats 25] [--data FOLDER] [--model CHECKOUT]

Real messages to a bank (banking77) as the checkout's own model sees them. A reference of 1,000 texts; windows of several sizes of which a
share is changed: typos, style, a new topic, cut short, other intents (label shift), another domain (loan purposes). Power is the share of
windows that alarm. Evidently's default for texts is a domain classifier (TF-IDF and a linear model, ROC AUC against the 95th percentile of
a random one). Both are measured by their own rule (ours: p <= 5%) on windows in which nothing has changed, and compared at the thresholds
that give each of them 5% false alarms on those same windows, for each size.
"""

import argparse
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from benchmarks._foreign import add_data, data_set
from benchmarks._observed import ROOT, UNCALIBRATED, classifier, observed, reference_of, settings, split, vocabulary
from benchmarks._page import Figures, machine, publish
from benchmarks._shifts import CHANGES
from evergreen.drift.alarms import judge
from evergreen.drift.reference import Reference
from evergreen.drift.rows import Seen, pool

REFERENCE = 1000
SHARES = (0.1, 0.3, 1.0)
INTENTS = (
    "card_not_working",
    "lost_or_stolen_card",
    "compromised_card",
    "card_swallowed",
    "lost_or_stolen_phone",
    "cash_withdrawal_charge",
)
OWN_RULE = 20  # quiet windows of each size that its own rule is measured on: its random classifier takes seconds
LEVEL = 0.05
SEED = 17


@dataclass(frozen=True)
class Texts:
    """Texts and what there is to see of them."""

    texts: np.ndarray
    seen: Seen

    def take(self, places: np.ndarray) -> "Texts":
        """Return the texts at these places."""
        return Texts(self.texts[places], self.seen.take(places))


def both(first: Texts, second: Texts) -> Texts:
    """Return two sets of texts as one."""
    return Texts(np.concatenate([first.texts, second.texts]), pool([first.seen, second.seen]))


def materials(data: Path | None, model_root: Path, largest: int) -> dict[str, Texts]:
    """Return the unchanged texts under "", and those of each change, as the model sees them: enough for windows of `largest` rows."""
    messages, loans = data_set(data, "banking77"), data_set(data, "kiva", "kiva_default.csv")
    plain, changed = REFERENCE + 2 * largest, largest + 10
    model, known = classifier(model_root), vocabulary(split("train", model_root)["text"].tolist())
    bank = pd.concat([pd.read_csv(messages / f"{name}.csv") for name in ("train", "test")]).drop_duplicates("text")
    bank = bank.sample(frac=1, random_state=SEED).reset_index(drop=True)
    texts = bank["text"].str.replace(r"\s+", " ", regex=True).str.strip().tolist()
    kiva = pd.read_csv(loans)["text"].drop_duplicates().sample(changed, random_state=SEED).tolist()
    others = [text for text, intent in zip(texts[plain:], bank["category"][plain:], strict=True) if intent in INTENTS][:changed]
    chosen = {"": texts[:plain], "other intents": others, "other domain": kiva}
    fresh = texts[plain : plain + changed]
    chosen |= {name: change(fresh, SEED) for name, change in CHANGES.items()}
    return {
        name: Texts(np.array(some, dtype=object), observed(pd.DataFrame({"text": some}), model, known)) for name, some in chosen.items()
    }


@dataclass(frozen=True)
class Cell:
    """One window to draw: what changes, how many rows, which share of them, which repeat."""

    change: str
    size: int
    share: float
    repeat: int


def measured(cell: Cell, found: dict[str, Texts], labels: tuple[str, ...]) -> tuple[Cell, float, float, bool]:
    """Return our p-value, Evidently's ROC AUC and whether it alarms by its own rule."""
    from evidently.legacy.utils.data_drift_utils import calculate_text_drift_score

    random = np.random.default_rng([SEED, cell.repeat, cell.size, int(cell.share * 100), *map(ord, cell.change[:4])])
    plain = random.permutation(len(found[""].texts))
    before, window = found[""].take(plain[:REFERENCE]), found[""].take(plain[REFERENCE : REFERENCE + cell.size])
    affected = round(cell.share * cell.size)
    if cell.change:
        other = found[cell.change]
        window = both(window.take(np.arange(cell.size - affected)), other.take(random.choice(len(other.texts), affected, replace=False)))
    reference: Reference = reference_of(before.seen, [""] * REFERENCE, labels, None, UNCALIBRATED)
    knobs = settings(false_alarms=LEVEL, windows=1, permutations=200, seed=cell.repeat)
    p_value = judge(reference, window.seen, number=1, settings=knobs)["p_value"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        own_rule = not cell.change and cell.repeat < OWN_RULE
        auc, alarm = calculate_text_drift_score(pd.Series(before.texts), pd.Series(window.texts), bootstrap=own_rule)
    return cell, float(p_value), float(auc), bool(alarm)


def table(found: pd.DataFrame, names: Sequence[str], sizes: Sequence[int], column: str, heading: str) -> Figures:
    """Return the share of alarms of each change and share (rows) at each size (columns): ours / Evidently's."""
    rows = []
    for name in names:
        for share in SHARES:
            part = found[(found["change"] == name) & (found["share"] == share)].groupby("size")[["ours", column]].mean()
            rows.append([name, f"{share:.0%}", *(f"{part.loc[size, 'ours']:.0%} / {part.loc[size, column]:.0%}" for size in sizes)])
    mean = found[found["change"] != ""].groupby("size")[["ours", column]].mean()
    rows.append(["all", "", *(f"{mean.loc[size, 'ours']:.0%} / {mean.loc[size, column]:.0%}" for size in sizes)])
    return Figures(heading, ["change", "of the rows", *(f"{size} rows" for size in sizes)], rows, (0,))


def _difference(rows: pd.DataFrame, size: int) -> str:
    part = rows[(rows["change"] != "") & (rows["size"] == size)]
    lead = part["ours"].astype(float) - part["matched"].astype(float)
    return f"{lead.mean():+.1%} (± {1.96 * lead.std() / len(lead) ** 0.5:.1%}) at {size} rows"


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--sizes", type=lambda text: [int(size) for size in text.split(",")], default=[50, 150, 500], help="of windows")
    add_data(parser)
    parser.add_argument("--model", type=Path, default=ROOT, help="a checkout in which the pipeline has run")
    given = parser.parse_args()
    on = machine(threads=1)
    found = materials(given.data, given.model, max(given.sizes))
    names = [name for name in found if name]
    print("texts observed", flush=True)
    cells = [Cell("", size, 0.0, repeat) for size in given.sizes for repeat in range(10 * given.repeats)]
    cells += [
        Cell(name, size, share, repeat) for name in names for size in given.sizes for share in SHARES for repeat in range(given.repeats)
    ]
    one = partial(measured, found=found, labels=classifier(given.model).labels)
    outcome = []
    with ProcessPoolExecutor(os.cpu_count(), initializer=threadpool_limits, initargs=(1,)) as workers:
        for done, (cell, p_value, auc, alarm) in enumerate(workers.map(one, cells, chunksize=5), 1):
            outcome.append((cell.change, cell.size, cell.share, cell.repeat, 1 - p_value, auc, alarm))
            if done % 50 == 0:
                print(f"{done:,} of {len(cells):,} windows", flush=True)
    rows = pd.DataFrame(outcome, columns=["change", "size", "share", "repeat", "surprise", "auc", "default"])
    rows["stated"] = rows["surprise"] >= 1 - LEVEL
    for column, score in (("ours", "surprise"), ("matched", "auc")):
        limits = rows[rows["change"] == ""].groupby("size")[score].quantile(1 - LEVEL, interpolation="higher")
        rows[column] = rows[score] > rows["size"].map(limits)
    quiet = rows[rows["change"] == ""].groupby("size")[["stated", "ours", "matched"]].mean()
    quiet["default"] = rows[(rows["change"] == "") & (rows["repeat"] < OWN_RULE)].groupby("size")["default"].mean()
    methods = {
        "stated": "ours, p at most 5%",
        "ours": "ours, threshold matched",
        "matched": "Evidently's, threshold matched",
        "default": f"Evidently's own rule, on {OWN_RULE}",
    }
    alarms = Figures(
        "False alarms: windows in which nothing has changed",
        ["method", *(f"{size} rows" for size in given.sizes)],
        [[name, *(f"{quiet.loc[size, column]:.1%}" for size in given.sizes)] for column, name in methods.items()],
    )
    tables = [alarms, table(rows, names, given.sizes, "matched", "Power where both give 5% false alarms: ours / Evidently's")]
    notes = [
        f"{10 * given.repeats} quiet windows of each size, {given.repeats} windows of each change; the reference is drawn anew for each.",
        "Both thresholds stand above 95% of the quiet windows of their size (p-value, ROC AUC), which is more than Evidently's users know.",
        f"The last line's difference, in paired windows: {', '.join(_difference(rows, size) for size in given.sizes)}.",
    ]
    publish(
        "failing_loudly",
        title="Failing loudly on texts",
        command=f"python -m benchmarks.failing_loudly --sizes {','.join(map(str, given.sizes))} --repeats {given.repeats}",
        on=on,
        tables=tables,
        notes=notes,
    )


if __name__ == "__main__":
    main()
