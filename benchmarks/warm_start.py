"""What a retraining should start from, for how many epochs, and how many trainings to average; judged as the gate would.

    python -m benchmarks.warm_start --project DIR [--new FILE] [--runs backbone:9:1.5e-4:1,champion:3:1e-4:3] [--seeds 17,20,23]

DIR is a project in which the pipeline has run on the example's first period: its model is the champion. Of the newer file (the autumn
period; later ones are for the demonstration alone and must not be tuned on) the older half joins the training rows, the newer half is
the new test. Each run is made with every seed, which decides the order of the rows; results come one by one.
"""

import argparse
import json
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks._page import Figures, machine, publish
from evergreen.config import Params, load_params
from evergreen.data.cleaning import clean_table
from evergreen.data.records import read_table
from evergreen.data.roles import to_examples
from evergreen.data.sources import read_source
from evergreen.evaluation.challenge import Bout, Terms, figures, sliced, worst_slice
from evergreen.evaluation.intervals import cluster_codes
from evergreen.evaluation.slices import slices_of
from evergreen.model.inference import Classifier

ROOT = Path(__file__).parents[1]
AUTUMN = ROOT / "examples" / "inbox" / "2025-09_to_2025-10.csv"
RUNS = "champion:3:1e-4:3,champion:3:1e-4:1,backbone:9:1.5e-4:1"


def main() -> None:
    """Train what is asked for, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.warm_start", description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, required=True, metavar="DIR")
    parser.add_argument("--new", type=Path, default=AUTUMN, metavar="FILE")
    parser.add_argument("--runs", default=RUNS, metavar="START:EPOCHS:RATE:MEMBERS,...")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seeds", default="17,20,23", metavar="N,...")
    parser.add_argument("--out", type=Path, help="JSON lines, one per run as it ends")
    given = parser.parse_args()
    params = load_params(ROOT / "params.yaml")
    rows = _rows(given.project, given.new, params)
    champion = Classifier.load(given.project / "models" / "artifact", given.project / "models" / "calibration.json")
    right = _right(rows, np.array(champion.labels)[champion.scores(rows["test"]["text"].tolist()).logits.argmax(axis=1)])
    print(f"champion: new {right[rows['new']].mean():.3f} of {rows['new'].sum()}, old {right[~rows['new']].mean():.3f}", flush=True)
    done = []
    for run, seed in product(given.runs.split(","), map(int, given.seeds.split(","))):
        start, epochs, rate, members = run.split(":")
        knobs = {"epochs": int(epochs), "learning_rate": float(rate), "members": int(members), "seed": seed}
        result = _run(given, params, rows, right, start=start, knobs=knobs)
        done.append(result)
        print(json.dumps(result), flush=True)
        if given.out:
            with given.out.open("a", encoding="utf-8") as out:
                out.write(json.dumps(result) + "\n")
    counts = f"{len(rows['train']):,} training rows, {int(rows['new'].sum())} new and {int((~rows['new']).sum())} old test rows"
    publish(
        "warm_start",
        title="What a retraining should start from",
        command=f"python -m benchmarks.warm_start --project DIR --runs {given.runs} --seeds {given.seeds}",
        on=machine(),
        tables=[_figures(done)],
        notes=[
            f"{counts}; the champion is right on {right[rows['new']].mean():.3f} and {right[~rows['new']].mean():.3f} of them.",
            "Differences are to it on the same rows, with 95% paired intervals. Members: trainings whose weights are averaged; their",
            "seeds follow one another.",
        ],
    )


def _rows(project: Path, newer: Path, params: Params) -> dict[str, Any]:
    splits = {name: read_table(project / "data" / "splits" / f"{name}.parquet") for name in ("train", "validation", "test")}
    fresh, _ = clean_table(to_examples(read_source(newer), params.ingest.columns), settings=params.clean)
    fresh = fresh.sort_values(["timestamp", "id"], ignore_index=True)
    half = len(fresh) // 2
    test = pd.concat([splits["test"], fresh[half:]], ignore_index=True)
    test = test.dropna(axis="columns")  # what only the newer file tells
    return {
        "train": pd.concat([splits["train"], fresh[:half]], ignore_index=True),
        "validation": splits["validation"],
        "test": test,
        "new": np.arange(len(test)) >= len(splits["test"]),
    }


def _right(rows: dict[str, Any], answers: Any) -> Any:
    return np.asarray(answers) == rows["test"]["label"].to_numpy(str)


def _run(
    given: argparse.Namespace, params: Params, rows: dict[str, Any], champion: Any, *, start: str, knobs: dict[str, Any]
) -> dict[str, Any]:
    from evergreen.model import backbone, environment
    from evergreen.model.averaging import Averaging
    from evergreen.model.training import Encoded

    settings = params.finetune.model_copy(update={**knobs, "threads": given.threads})
    environment.fix(threads=given.threads, seed=settings.seed)
    labels = sorted(rows["train"]["label"].unique())
    source = settings.backbone
    folder = str(given.project / "models" / "classifier") if start == "champion" else source.source
    local = start == "champion"
    found = backbone.find(
        folder, revision=None if local else source.revision, expected=None if local else source.sha256, allow_download=False
    )
    tokenizer, model = backbone.load_tokenizer(found.folder), backbone.load_model(found, labels=labels, source="start")
    index = {label: place for place, label in enumerate(labels)}

    def encoded(table: pd.DataFrame) -> Encoded:
        ids = tokenizer(table["text"].tolist(), truncation=True, max_length=settings.max_tokens)["input_ids"]
        return Encoded(ids, [index[label] for label in table["label"]])

    began, busy = time.monotonic(), time.process_time()
    device = environment.device("cpu")
    Averaging(
        model, settings=settings, train=encoded(rows["train"]), validation=encoded(rows["validation"]),
        precision=environment.precision(settings.precision, device),
    ).run()  # fmt: skip
    seconds, cpu = time.monotonic() - began, time.process_time() - busy
    print(f"{start} {knobs}: trained in {seconds:.0f} s", flush=True)
    answers = np.array(labels)[_logits(model, encoded(rows["test"]).rows).argmax(axis=1)]
    bout = Bout(champion, _right(rows, answers), cluster_codes(rows["test"]["customer"].tolist()))
    judged = params.challenge
    terms = Terms(resamples=judged.resamples, level=judged.level, seed=judged.seed, margin=None)
    parts = {name: figures(bout.of(mask), terms=terms) for name, mask in (("new", rows["new"]), ("old", ~rows["new"]))}
    slices = sliced(bout, slices_of(rows["test"], length_bins=params.evaluate.length_bins), terms=terms, min_rows=judged.min_slice_rows)
    whole = figures(bout, terms=terms) or {}
    return {
        "start": start, **knobs, "seconds": round(seconds), "cpu_seconds": round(cpu),
        **{name: {key: part[key] for key in ("challenger", "difference", "wins", "losses")} for name, part in parts.items() if part},
        "negative_flips": whole["negative_flips"]["value"], "worst_slice": worst_slice(slices),
    }  # fmt: skip


def _logits(model: Any, rows: Any) -> Any:
    import torch

    model.eval()
    found = []
    with torch.no_grad():
        for ids in rows:
            found.append(model(input_ids=torch.tensor([ids])).logits[0].float().numpy())
    return np.stack(found)


def _figures(done: list[dict[str, Any]]) -> Figures:
    run_is = ("start", "epochs", "learning rate", "members", "seed", "CPU s")
    columns = (*run_is, "new rows", "difference", "old rows", "difference", "negative flips")
    found = []
    for run in done:
        parts = [(f"{run[name]['challenger']['value']:.3f}", _difference(run[name]["difference"])) for name in ("new", "old")]
        figures = (run["start"], *(f"{run[name]:g}" for name in ("epochs", "learning_rate", "members", "seed", "cpu_seconds")))
        found.append((*figures, *parts[0], *parts[1], f"{run['negative_flips']:.3f}"))
    return Figures(heading="", columns=columns, rows=found)


def _difference(found: dict[str, float]) -> str:
    return f"{found['value']:+.3f} ({found['low']:+.3f} to {found['high']:+.3f})"


if __name__ == "__main__":
    main()
