"""The whole pipeline on a data set, in a clone of this checkout that is thrown away: init, then `dvc repro`.

    python -m benchmarks.datasets banking77 [--data FOLDER] [--seeds 17,18] [--set finetune.epochs=8]
    python -m benchmarks.datasets kiva
    python -m benchmarks.datasets inbox

What is measured is the last commit: a clone has no uncommitted changes. --keep FOLDER keeps the clones (one per seed) for
a look at their dossiers.
"""

import argparse
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks._clone import clone, environment, folder_for, repro
from benchmarks._foreign import add_data, data_set
from benchmarks._page import Figures, machine, publish
from evergreen.errors import EvergreenError
from evergreen.params_file import edit_params
from evergreen.reports import read_report
from evergreen.wording import counted


@dataclass(frozen=True)
class DataSet:
    """A data set: its place under the data folder and what `evergreen init` is told of it; None: the project's own example."""

    place: str | None
    told: tuple[str, ...] = ()


SETS = {
    "banking77": DataSet("banking77", ("--text", "text", "--label", "category")),
    "kiva": DataSet(
        "kiva/kiva_default.csv",
        ("--text", "text", "--label", "label", "--group", "region", "--group", "gender", "--time", "date", "--id", "id"),
    ),
    "inbox": DataSet(None),
}
HEADLINE = {"accuracy": "accuracy", "macro_f1": "macro F1"}


@dataclass(frozen=True)
class Run:
    """One run of the pipeline: its seed, the metrics and verdict it ended with, and each stage's wall seconds."""

    seed: int
    metrics: dict[str, Any]
    verdict: dict[str, Any]
    training: dict[str, Any]
    seconds: dict[str, float]


def main() -> None:
    """Run the pipeline once per seed and publish what came out."""
    given = _arguments()
    on = machine()
    changes = dict(_setting(text) for text in given.settings)
    runs = []
    for seed in given.seeds:
        with folder_for(given.keep, f"{given.name}-{seed}") as folder:
            runs.append(measured(SETS[given.name], given.data, folder, {**changes, "finetune.seed": seed}))
    publish(
        given.name,
        title=f"The pipeline on {given.name}, {runs[0].metrics['rows']:,} test rows",
        command=_command(given),
        on=on,
        tables=[_outcomes(runs), _durations(runs)],
        notes=[_training(runs), _mean(runs), *dict.fromkeys(f"Seed {run.seed}: {run.verdict['summary']}" for run in runs)],
    )


def measured(chosen: DataSet, data: Path | None, folder: Path, changes: Mapping[str, Any]) -> Run:
    """Clone the checkout into the folder, tell it of the data set, run the pipeline, and read what it wrote."""
    source = None if chosen.place is None else data_set(data, chosen.place)
    clone(folder)
    if source is not None:
        subprocess.run([sys.executable, "-m", "flows", "init", str(source), *chosen.told], cwd=folder, env=environment(), check=True)
    edit_params(folder / "params.yaml", changes)
    seconds = repro(folder)
    reports = {name: read_report(folder / "reports" / f"{name}.json") for name in ("metrics", "verdict", "training")}
    return Run(seed=changes["finetune.seed"], seconds=seconds, **reports)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.datasets", description="The whole pipeline on a data set.")
    parser.add_argument("name", choices=SETS)
    add_data(parser)
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="PLACE=VALUE", help="a knob of params.yaml")
    parser.add_argument(
        "--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[17], help="of finetune, such as 17,18"
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the clones there")
    return parser.parse_args()


def _setting(text: str) -> tuple[str, Any]:
    place, found, value = text.partition("=")
    if not found:
        sys.exit(f"--set takes PLACE=VALUE, such as finetune.epochs=8, not {text!r}")
    return place, yaml.safe_load(value)


def _command(given: argparse.Namespace) -> str:
    seeds = ",".join(map(str, given.seeds))
    return " ".join(["python -m benchmarks.datasets", given.name, "--seeds", seeds, *(f"--set {text}" for text in given.settings)])


def _outcomes(runs: list[Run]) -> Figures:
    rows = [
        ["accuracy", *(_interval(run.metrics["accuracy"]) for run in runs)],
        ["macro F1", *(_interval(run.metrics["macro_f1"]) for run in runs)],
        ["calibration error", *(_interval(run.metrics["ece"]) for run in runs)],
        ["baseline's accuracy", *(_interval(run.metrics["baseline"]["accuracy"]) for run in runs)],
        ["baseline's macro F1", *(_interval(run.metrics["baseline"]["macro_f1"]) for run in runs)],
        ["lead in accuracy", *(_interval(run.metrics["lead"]["accuracy"], "+.3f") for run in runs)],
        ["lead in macro F1", *(_interval(run.metrics["lead"]["macro_f1"], "+.3f") for run in runs)],
        ["answers alone", *(f"{run.metrics['answered']['coverage']['value']:.1%}" for run in runs)],
        ["of them right", *(f"{run.metrics['answered']['accuracy']['value']:.1%}" for run in runs)],
        ["verdict", *(run.verdict["verdict"] for run in runs)],
    ]
    return Figures("On test, with 95% intervals", ["", *(f"seed {run.seed}" for run in runs)], rows)


def _mean(runs: list[Run]) -> str:
    means = (f"{name} {sum(run.metrics[key]['value'] for run in runs) / len(runs):.4f}" for key, name in HEADLINE.items())
    return f"Mean of {counted(len(runs), 'seed')}: {', '.join(means)}."


def _interval(found: dict[str, float], form: str = ".3f") -> str:
    return f"{found['value']:{form}} ({found['low']:{form}} … {found['high']:{form}})"


def _durations(runs: list[Run]) -> Figures:
    stages = list(runs[0].seconds)
    rows = [[stage, *(f"{run.seconds[stage]:.1f}" for run in runs)] for stage in stages]
    rows.append(["together", *(f"{sum(run.seconds.values()):.1f}" for run in runs)])
    return Figures("Seconds by the clock", ["stage", *(f"seed {run.seed}" for run in runs)], rows)


def _training(runs: list[Run]) -> str:
    found = runs[0].training
    kept = ", ".join(f"{'/'.join(map(str, run.training['kept_epochs']))} of {run.training['epochs_run']}" for run in runs)
    return (
        f"{found['rows']:,} training rows, {len(found['labels'])} labels, {found['precision']} on {found['device']}, "
        f"{found['threads']} threads; epoch kept: {kept}."
    )


if __name__ == "__main__":
    try:
        main()
    except EvergreenError as error:
        sys.exit(str(error))
