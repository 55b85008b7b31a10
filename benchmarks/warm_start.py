"""What a retraining should start from: the backbone or the champion's weights, and for how many epochs; judged as the gate would.

    python -m benchmarks.warm_start --project DIR [--new FILE] [--runs backbone:9:1.5e-4,champion:3:5e-5] [--threads 2]

DIR is a project in which the pipeline has run on the example's first period: its model is the champion. Of the newer file (the autumn
period; later ones are for the demonstration alone and must not be tuned on) the older half joins the training rows, the newer half is
the new test. Each run costs one training; results come one by one.
"""

import argparse
import json
import time
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
RUNS = "champion:3:5e-5,champion:4:1e-4,champion:3:1.5e-4,backbone:9:1.5e-4"


def main() -> None:
    """Train what is asked for, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.warm_start", description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, required=True, metavar="DIR")
    parser.add_argument("--new", type=Path, default=AUTUMN, metavar="FILE")
    parser.add_argument("--runs", default=RUNS, metavar="START:EPOCHS:RATE,...")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--out", type=Path, help="JSON lines, one per run as it ends")
    given = parser.parse_args()
    params = load_params(ROOT / "params.yaml")
    rows = _rows(given.project, given.new, params)
    champion = Classifier.load(given.project / "models" / "artifact", given.project / "models" / "calibration.json")
    right = _right(rows, np.array(champion.labels)[champion.scores(rows["test"]["text"].tolist()).logits.argmax(axis=1)])
    print(f"champion: new {right[rows['new']].mean():.3f} of {rows['new'].sum()}, old {right[~rows['new']].mean():.3f}", flush=True)
    done = []
    for run in given.runs.split(","):
        start, epochs, rate = run.split(":")
        result = _run(given, params, rows, right, start=start, epochs=int(epochs), rate=float(rate))
        done.append(result)
        print(json.dumps(result), flush=True)
        if given.out:
            with given.out.open("a", encoding="utf-8") as out:
                out.write(json.dumps(result) + "\n")
    counts = f"{len(rows['train']):,} training rows, {int(rows['new'].sum())} new and {int((~rows['new']).sum())} old test rows"
    publish(
        "warm_start",
        title="What a retraining should start from",
        command=f"python -m benchmarks.warm_start --project DIR --runs {given.runs} --seed {given.seed}",
        on=machine(),
        tables=[_figures(done)],
        notes=[f"{counts}. Differences are to the champion on the same rows, with 95% paired intervals."],
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
    given: argparse.Namespace, params: Params, rows: dict[str, Any], champion: Any, *, start: str, epochs: int, rate: float
) -> dict[str, Any]:
    from evergreen.model import backbone, environment
    from evergreen.model.training import Encoded, Training

    settings = params.finetune.model_copy(update={"epochs": epochs, "learning_rate": rate, "threads": given.threads, "seed": given.seed})
    environment.fix(threads=given.threads, seed=given.seed)
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
    training = Training(
        model, train=encoded(rows["train"]), validation=encoded(rows["validation"]), settings=settings,
        precision=environment.precision(settings.precision, device),
    )  # fmt: skip
    training.run()
    seconds, cpu = time.monotonic() - began, time.process_time() - busy
    print(f"{start} {epochs} {rate:g}: trained in {seconds:.0f} s", flush=True)
    answers = np.array(labels)[_logits(model, encoded(rows["test"]).rows).argmax(axis=1)]
    bout = Bout(champion, _right(rows, answers), cluster_codes(rows["test"]["customer"].tolist()))
    knobs = params.challenge
    terms = Terms(resamples=knobs.resamples, level=knobs.level, seed=knobs.seed, margin=None)
    parts = {name: figures(bout.of(mask), terms=terms) for name, mask in (("new", rows["new"]), ("old", ~rows["new"]))}
    slices = sliced(bout, slices_of(rows["test"], length_bins=params.evaluate.length_bins), terms=terms, min_rows=knobs.min_slice_rows)
    whole = figures(bout, terms=terms) or {}
    return {
        "start": start, "epochs": epochs, "rate": rate, "seed": given.seed, "seconds": round(seconds), "cpu_seconds": round(cpu),
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
    columns = ("start", "epochs", "learning rate", "CPU s", "new rows", "difference", "old rows", "difference", "negative flips")
    found = []
    for run in done:
        parts = [(f"{run[name]['challenger']['value']:.3f}", _difference(run[name]["difference"])) for name in ("new", "old")]
        figures = (run["start"], str(run["epochs"]), f"{run['rate']:g}", str(run["cpu_seconds"]))
        found.append((*figures, *parts[0], *parts[1], f"{run['negative_flips']:.3f}"))
    return Figures(heading="", columns=columns, rows=found)


def _difference(found: dict[str, float]) -> str:
    return f"{found['value']:+.3f} ({found['low']:+.3f} to {found['high']:+.3f})"


if __name__ == "__main__":
    main()
