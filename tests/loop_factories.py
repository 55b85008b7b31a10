"""A project whose stages are stand-ins: they write what the real ones would in a moment, so that the loop around them can be tried.

The rows are real examples, and so are raw table, splits and artifact; models are the tiny ones of `tests.factories`. What the gate says
stands in `wish.json` of the project's commit. `quickly(folder, stage)` runs a stage in this process and records it in dvc.lock at the
last one; the same pipeline runs through `dvc repro` too.
"""

import json
import shlex
import shutil
import sys
import warnings
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from dvc.repo import Repo

from evergreen.config import load_params
from evergreen.data.records import read_table, write_table
from evergreen.data.roles import to_examples
from evergreen.data.sources import read_source
from evergreen.model.inference import Classifier
from evergreen.params_file import edit_params
from tests.factories import examples, tiny_artifact, tiny_calibration
from tests.project_factories import ROOT, dvc, git

SPLITS = ("train", "validation", "calibration", "test")
PIPELINE = {
    "ingest": ("", "raw=data/raw.parquet"),
    "split": ("raw=data/raw.parquet", "splits=data/splits"),
    "finetune": ("splits=data/splits", "model=models/classifier report=reports/training.json"),
    "compress": ("model=models/classifier", "artifact=models/artifact"),
    "calibrate": ("artifact=models/artifact", "calibration=models/calibration.json"),
    "evaluate": (
        "artifact=models/artifact calibration=models/calibration.json",
        "metrics=reports/metrics.json report=reports/evaluation.json",
    ),
    "challenge": ("champion=champion report=reports/evaluation.json", "report=reports/challenge.json"),
    "gate": ("challenge=reports/challenge.json", "verdict=reports/verdict.json"),
    "document": ("verdict=reports/verdict.json", "card=reports/MODEL_CARD.md dossier=reports/dossier.html"),
    "package": ("artifact=models/artifact card=reports/MODEL_CARD.md", "bento=build/bento"),
}  # fmt: skip
LAST = "package"


def loop_project(folder: Path, *, rows: int = 80, **changes: Any) -> Path:
    """Make the project, committed on `main`; `changes` are edits of params.yaml, `__` for a dot."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    dvc(folder, "init", "--quiet")
    shutil.copy2(ROOT / "params.yaml", folder / "params.yaml")
    columns = {"text": "text", "label": "label", "id": "id", "time": "timestamp", "customer": None, "groups": ["age_band"], "context": []}
    given = {"ingest.source": "rows.csv", **{f"ingest.columns.{name}": value for name, value in columns.items()}}
    edit_params(folder / "params.yaml", {**given, **{name.replace("__", "."): value for name, value in changes.items()}})
    table = examples(rows)[["id", "text", "label", "timestamp", "group_age_band"]]
    table.rename(columns={"group_age_band": "age_band"}).to_csv(folder / "rows.csv", index=False)
    stages = {name: _stage(name, given, made) for name, (given, made) in PIPELINE.items()}
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False), encoding="utf-8")
    (folder / "champion").mkdir()
    (folder / "champion" / "README.md").write_text("nobody yet\n", encoding="utf-8")
    outs = [out.partition("=")[2] for _, made in PIPELINE.values() for out in made.split()]
    (folder / ".gitignore").write_text("".join(f"/{out}\n" for out in outs if "metrics" not in out) + ".evergreen/\n", encoding="utf-8")
    wish(folder, "PROMOTE")
    return folder


def wish(project: Path, verdict: str, **others: Any) -> None:
    """Say what the gate is to say (and in `breaks` which stage is to fail), and commit it."""
    (project / "wish.json").write_text(json.dumps({"verdict": verdict, **others}), encoding="utf-8")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--allow-empty", f"--message=wish {verdict}")


def quickly(folder: Path, stage: str) -> None:
    """Run a stage in this process; the last one has DVC record all of them."""
    given, made = PIPELINE[stage]
    run_stage(stage, folder, _paths(folder, given), _paths(folder, made))
    if stage == LAST:
        with warnings.catch_warnings(), chdir(folder), Repo() as repo:
            warnings.simplefilter("ignore")
            repo.commit("dvc.yaml", force=True)


def _stage(name: str, given: str, made: str) -> dict[str, Any]:
    inputs = [word.partition("=")[2] for word in given.split()]
    outs = [word.partition("=")[2] for word in made.split()]
    stage: dict[str, Any] = {"cmd": f"python -m tests.loop_factories {name}{f' --in {given}' if given else ''} --out {made}"}
    stage["params"] = ["ingest", "finetune", "challenge"] if name in {"ingest", "finetune", "challenge"} else ["document.name"]
    stage["deps"] = [*inputs, "wish.json", *(["${ingest.source}"] if name == "ingest" else [])]
    stage["outs"] = [out for out in outs if "metrics" not in out]
    if metrics := [out for out in outs if "metrics" in out]:
        stage["metrics"] = [{metrics[0]: {"cache": False}}]
    return stage


def _paths(folder: Path, words: str) -> dict[str, Path]:
    return {name: folder / path for name, _, path in (word.partition("=") for word in words.split())}


def run_stage(stage: str, folder: Path, given: dict[str, Path], made: dict[str, Path]) -> None:
    """Write what this stage would."""
    asked = json.loads((folder / "wish.json").read_text(encoding="utf-8"))
    if asked.get("breaks") == stage:
        raise SystemExit(f"{stage} stopped: it was wished for")
    for path in made.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(path, ignore_errors=True)
    globals()[f"_{stage}"](folder, given, made, asked)


def _ingest(folder: Path, given: dict[str, Path], made: dict[str, Path], asked: dict[str, Any]) -> None:
    ingest = load_params(folder / "params.yaml").ingest
    write_table(to_examples(read_source(folder / ingest.source), ingest.columns), made["raw"])


def _split(folder: Path, given: dict[str, Path], made: dict[str, Path], asked: dict[str, Any]) -> None:
    table = read_table(given["raw"])
    dealt = table["split"].to_numpy(str) if "split" in table.columns else np.resize([*["train"] * 6, *SPLITS[1:], "test"], len(table))
    made["splits"].mkdir(parents=True)
    for name in SPLITS:
        write_table(table[dealt == name].drop(columns="split", errors="ignore"), made["splits"] / f"{name}.parquet")


def _finetune(folder: Path, given: dict[str, Path], made: dict[str, Path], asked: dict[str, Any]) -> None:
    rows = pd.concat([read_table(given["splits"] / f"{name}.parquet") for name in SPLITS])
    made["model"].mkdir(parents=True)
    (made["model"] / "model.safetensors").write_bytes(f"{len(rows)} {asked.get('sharpness', 6.0)}".encode())
    backbone = load_params(folder / "params.yaml").finetune.backbone
    made["report"].write_text(json.dumps({"backbone": {"source": backbone.source, "revision": backbone.revision}}), encoding="utf-8")


def _compress(folder: Path, given: dict[str, Path], made: dict[str, Path], asked: dict[str, Any]) -> None:
    rows, sharpness = (given["model"] / "model.safetensors").read_text(encoding="utf-8").split()
    tiny_artifact(made["artifact"], sharpness=float(sharpness) + int(rows) / 1000)


def _calibrate(folder: Path, given: dict[str, Path], made: dict[str, Path], asked: dict[str, Any]) -> None:
    tiny_calibration(made["calibration"])


def _evaluate(folder: Path, given: dict[str, Path], made: dict[str, Path], asked: dict[str, Any]) -> None:
    version = Classifier.load(given["artifact"], given["calibration"]).version
    accuracy = {"value": 0.85, "low": 0.8, "high": 0.9}
    made["metrics"].write_text(json.dumps({"rows": 20, "accuracy": accuracy}), encoding="utf-8")
    made["report"].write_text(json.dumps({"model_version": version}), encoding="utf-8")


def _challenge(folder: Path, given: dict[str, Path], made: dict[str, Path], asked: dict[str, Any]) -> None:
    who = given["champion"] / "champion.json"
    report: dict[str, Any] = {"champion": None, "reason": "there is no champion to compare with"}
    if who.is_file():
        champion = json.loads(who.read_text(encoding="utf-8"))
        found = Classifier.load(given["champion"] / "artifact", given["champion"] / "calibration.json").version
        assert found == champion["model_version"]
        part = {
            "rows": 6,
            "difference": {"value": 0.05, "low": 0.01, "high": 0.09},
            "power": {"words": "With 6 new rows it is hard to tell."},
        }
        report = {"champion": champion, "new": part, "old": None, "all": part}
    made["report"].write_text(json.dumps(report), encoding="utf-8")


def _gate(folder: Path, given: dict[str, Path], made: dict[str, Path], asked: dict[str, Any]) -> None:
    version = json.loads((folder / "reports/evaluation.json").read_text(encoding="utf-8"))["model_version"]
    kept = asked["verdict"] == "PROMOTE"
    rule = {
        "rule": "no_worse", "title": "No worse than the champion", "value": 0.05, "interval": [0.01, 0.09], "bound": -0.02,
        "side": "at least", "strict": False, "unit": "accuracy", "outcome": "pass" if kept else "fail", "failure": "hold",
        "because": "It is as it was wished for.",
    }  # fmt: skip
    summary = f"{asked['verdict']}: as it was wished for."
    made["verdict"].write_text(
        json.dumps({"verdict": asked["verdict"], "model_version": version, "summary": summary, "rules": [rule]}), encoding="utf-8"
    )


def _document(folder: Path, given: dict[str, Path], made: dict[str, Path], asked: dict[str, Any]) -> None:
    for path in made.values():
        path.write_text("told\n", encoding="utf-8")


def _package(folder: Path, given: dict[str, Path], made: dict[str, Path], asked: dict[str, Any]) -> None:
    shutil.copytree(given["artifact"], made["bento"] / "src" / "artifact")


if __name__ == "__main__":
    words = sys.argv[2:]
    flags = {flag: words.index(flag) for flag in ("--in", "--out") if flag in words}
    parts = {flag: words[place + 1 :] for flag, place in flags.items()}
    if "--in" in parts:
        parts["--in"] = parts["--in"][: parts["--in"].index("--out")]
    run_stage(sys.argv[1], Path.cwd(), *(_paths(Path.cwd(), shlex.join(parts.get(flag, []))) for flag in ("--in", "--out")))
