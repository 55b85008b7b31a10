"""Whether real drift is found, after how many windows, and whether what has not changed is left alone.

    python -m benchmarks.real_drift [--data FOLDER] [--model CHECKOUT] [--repeats 6]

The example's later periods as its own model sees them, in the order in which they came; purposes of loans (trained on Asia, then other
regions); emergency-room narratives (trained on 2016 to 2018, then 2019 and 2020). For the last two a linear head on the checkout's encoder
stands for a model, and nothing but the texts is told: no region, no age. Windows of 60 rows, judged at the default settings (any alarm
in 365 quiet windows: 5%), until the first alarm, six at most. Quiet windows come from rows of the reference's own source and period.
"""

import argparse
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from benchmarks._foreign import add_data, data_set
from benchmarks._observed import ROOT, UNCALIBRATED, classifier, observed, parameters, reference_of, settings, split, vocabulary
from benchmarks._page import Figures, machine, publish
from evergreen.data.cleaning import clean_table
from evergreen.data.roles import to_examples
from evergreen.data.sources import read_source
from evergreen.drift.alarms import judge
from evergreen.drift.estimate import estimate
from evergreen.drift.rows import Seen, Vocabulary, look
from evergreen.model.inference import Classifier
from evergreen.sections.pipeline import Columns

ESTIMATES = ("traffic", "accuracy before", "estimated later", "true later", "labels within their interval", "largest error of a share")
ROWS, MOST_WINDOWS, REFERENCE, TRAIN = 60, 6, 400, 1200
SEED = 17


@dataclass(frozen=True)
class Case:
    """Rows that resemble the reference, and those that came later, in the order of time."""

    name: str
    held: Seen  # of the reference's source and period, unseen in training: reference and quiet windows
    truth: np.ndarray  # of `held`
    later: Seen
    later_truth: np.ndarray
    labels: tuple[str, ...]
    known: Vocabulary


def inbox(model: Classifier, root: Path) -> Iterator[Case]:
    """Yield the project's own example: later files of its folder."""
    known = vocabulary(split("train", root)["text"].tolist())
    held = pd.concat([split(name, root) for name in ("test", "validation", "calibration")], ignore_index=True)
    seen = observed(held, model, known)
    params = parameters()
    for name, file in (("inbox, autumn", "2025-09_to_2025-10"), ("inbox, winter", "2025-11_to_2025-12")):
        source = read_source(ROOT / "examples" / "inbox" / f"{file}.csv")
        table, _ = clean_table(to_examples(source, params.ingest.columns), settings=params.clean)
        later = look(table, model, known, list(seen.categories))  # as the monitor does: the reference says what is looked at
        yield Case(name, seen, held["label"].to_numpy(), later, table["label"].to_numpy(), model.labels, known)


def foreign(model: Classifier, tables: dict[str, pd.DataFrame]) -> Iterator[Case]:
    """Yield another data set: `tables` holds the rows before under "", and later ones by name; a linear head is trained on some before."""
    before = tables[""].sample(frac=1, random_state=SEED).reset_index(drop=True)
    first = min(TRAIN, len(before) * 2 // 5)
    train, held = before[:first], before[first : first + REFERENCE + (MOST_WINDOWS + 2) * ROWS].reset_index(drop=True)
    known = vocabulary(train["text"].tolist())
    head = LogisticRegression(C=10.0, max_iter=2000).fit(observed(train, model, known).embeddings, train["label"])
    labels = tuple(head.classes_)

    def seen(table: pd.DataFrame) -> Seen:
        found = observed(table[["text", "label"]], model, known)
        return replace(found, probabilities=head.predict_proba(found.embeddings))

    rows = seen(held)
    for name, table in tables.items():
        if name:
            some = table.head(2 * MOST_WINDOWS * ROWS).reset_index(drop=True)
            yield Case(name, rows, held["label"].to_numpy(), seen(some), some["label"].to_numpy(), labels, known)


def kiva(file: Path) -> dict[str, pd.DataFrame]:
    """Loan purposes: Asia before, each other region later."""
    columns = Columns(text="text", label="label", id="id", time="date", customer=None, split=None, groups=["region"], context=[])
    table, _ = clean_table(to_examples(read_source(file), columns), settings=parameters().clean)
    table = table.sort_values("timestamp", kind="stable")
    regions = [name for name in sorted(table["group_region"].unique()) if name != "asia"]
    later = {f"kiva, {name.replace('_', ' ')}": table[table["group_region"] == name] for name in regions}
    return {"": table[table["group_region"] == "asia"], **later}


def neiss(file: Path) -> dict[str, pd.DataFrame]:
    """Emergency-room narratives: 2016 to 2018 before, 2019 and 2020 later; the five most frequent diagnoses."""
    found = pd.read_csv(file)
    found = found[found["Diagnosis"].isin(found["Diagnosis"].value_counts().index[:5])]
    when = pd.to_datetime(found["Treatment_Date"])
    table = pd.DataFrame({"text": found["Narrative"].astype(str), "label": found["Diagnosis"], "when": when}).drop_duplicates("text")
    table = table.sort_values("when", kind="stable")
    years = table["when"].dt.year
    return {"": table[years <= 2018], "fireworks, 2019": table[years == 2019], "fireworks, 2020": table[years == 2020]}


def repeat(number: int, case: Case) -> tuple[int | None, int, int, list[str]]:
    """Return after how many windows the drift was found (None: not), alarms in quiet windows and their number, and what alarmed."""
    random = np.random.default_rng([SEED, number])
    order = random.permutation(len(case.held))
    quiet_rows = min(len(case.held) - 240, MOST_WINDOWS * ROWS) // ROWS * ROWS
    places = np.sort(order[quiet_rows:][:REFERENCE])
    reference = reference_of(case.held.take(places), case.truth[places].tolist(), case.labels, case.known)
    knobs = settings(seed=number)
    quiet = [case.held.take(order[start : start + ROWS]) for start in range(0, quiet_rows, ROWS)]
    alarms = [judge(reference, one, number=place + 1, settings=knobs, earlier=quiet[:place])["alarm"] for place, one in enumerate(quiet)]
    start = int(random.integers(0, max(1, len(case.later) - MOST_WINDOWS * ROWS + 1))) if number else 0
    windows: list[Seen] = []
    for place in range(MOST_WINDOWS):
        windows.append(case.later.take(np.arange(start + place * ROWS, min(len(case.later), start + (place + 1) * ROWS))))
        if len(windows[-1]) < ROWS // 2:
            break
        facts = judge(reference, windows[-1], number=place + 1, settings=knobs, earlier=windows[:-1])
        if facts["alarm"]:
            first = min(facts["tests"], key=lambda test: 1.0 if test["p_value"] is None else test["p_value"])
            return place + 1, sum(alarms), len(quiet), [first["name"]]
    return None, sum(alarms), len(quiet), []


def told(case: Case) -> list[str]:
    """Return accuracy before, the estimate for the later rows without their labels, and what it was."""
    reference = reference_of(case.held, case.truth.tolist(), case.labels, case.known, UNCALIBRATED)
    found = estimate(reference, case.later.probabilities, seed=SEED)
    names = np.array(case.labels, dtype=object)
    before = (names[case.held.probabilities.argmax(axis=1)] == case.truth).mean()
    now = (names[case.later.probabilities.argmax(axis=1)] == case.later_truth).mean()
    value, low, high = (found["accuracy"][name] for name in ("value", "low", "high"))
    shares = found["labels"]
    if shares is None:
        return [case.name, f"{before:.3f}", f"{value:.3f} ({low:.3f} to {high:.3f})", f"{now:.3f}", "", ""]
    truth = {label: float((case.later_truth == label).mean()) for label in case.labels}
    covered = sum(part["low"] <= truth[label] <= part["high"] for label, part in shares.items())
    before_error = max(abs(part["reference"] - truth[label]) for label, part in shares.items())
    error = max(abs(part["now"] - truth[label]) for label, part in shares.items())
    return [
        case.name, f"{before:.3f}", f"{value:.3f} ({low:.3f} to {high:.3f})", f"{now:.3f}",
        f"{covered} of {len(shares)}", f"{error:.3f}, from {before_error:.3f}",
    ]  # fmt: skip


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data(parser)
    parser.add_argument("--model", type=Path, default=ROOT, help="a checkout in which the pipeline has run")
    parser.add_argument("--repeats", type=int, default=6)
    given = parser.parse_args()
    loans, injuries = data_set(given.data, "kiva", "kiva_default.csv"), data_set(given.data, "neiss_fireworks", "df_injury_clean2.csv")
    on = machine(threads=1)
    model = classifier(given.model)
    cases = [*inbox(model, given.model), *foreign(model, kiva(loans)), *foreign(model, neiss(injuries))]
    print("texts observed", flush=True)
    rows = []
    with ProcessPoolExecutor(os.cpu_count(), initializer=threadpool_limits, initargs=(1,)) as workers:
        for case in cases:
            found = list(workers.map(partial(repeat, case=case), range(given.repeats)))
            delays = [delay for delay, *_ in found if delay is not None]
            what = sorted({name for *_, names in found for name in names})
            rows.append([
                case.name, f"{len(delays)} of {len(found)}", f"{np.median(delays):g}" if delays else "", f"{max(delays)}" if delays else "",
                f"{sum(alarms for _, alarms, *_ in found)} of {sum(quiet for _, _, quiet, _ in found)}", ", ".join(what),
            ])  # fmt: skip
            print(rows[-1], flush=True)
    estimated = [told(case) for case in cases]
    columns = ["traffic", "found", "windows until then, median", "at most", "alarms in quiet windows", "what alarmed first"]
    notes = [
        "A repeat has a reference, quiet windows and a place to begin in the later rows of its own; the first begins with the earliest.",
        "Quiet windows of one repeat share rows with those of another.",
    ]
    publish(
        "real_drift", title="Real drift", command="python -m benchmarks.real_drift", on=on,
        tables=[
            Figures("Drift", columns, rows, (0, 5)),
            Figures("Accuracy and shares of labels, estimated without labels", ESTIMATES, estimated),
        ], notes=notes,
    )  # fmt: skip


if __name__ == "__main__":
    main()
