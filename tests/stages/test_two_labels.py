"""Two labels are a task like any other: every stage after compress takes them, up to the packaged model."""

import json
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml

from evergreen.model.inference import Classifier
from evergreen.reports import read_report, write_report
from stages.audit import audit
from stages.calibrate import calibrate
from stages.challenge import challenge
from stages.document import REPORTS, document
from stages.evaluate import evaluate
from stages.gate import gate
from stages.package import package
from tests.dossier_factories import reports, runs
from tests.evaluation_factories import ROOT, knobs, splits
from tests.factories import examples, tiny_artifact
from tests.release_factories import installed

# Evidently imports names on their way out; none of it is ours to change.
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.filterwarnings("ignore::FutureWarning")]
TWO = ("parcels", "refunds")
ROWS = {"train": 200, "validation": 60, "calibration": 80, "test": 160}
NAMES = {
    "calibration": "calibration.json",
    "metrics": "metrics.json",
    "predictions": "predictions.parquet",
    "confusion": "confusion.csv",
    "reliability": "reliability.csv",
    "learning": "learning.csv",
    "audit": "audit.json",
    "reference": "reference",
    "drift": "drift.json",
    "page": "page.html",
    "verdict": "verdict.json",
    "card": "card.md",
    "dossier": "dossier.html",
    "provenance": "provenance.json",
    "bento": "bento",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Paths of all that the stages from calibrate to package make, one from the other's outputs, of a task with two labels."""
    folder = tmp_path_factory.mktemp("two_labels")
    paths = SimpleNamespace(**{name: folder / file for name, file in NAMES.items()})
    tables = {name: examples(rows, labels=TWO, seed=seed) for seed, (name, rows) in enumerate(ROWS.items())}
    paths.artifact, paths.splits = tiny_artifact(folder / "artifact", TWO), splits(folder / "splits", **tables)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVERGREEN_HOME", str(folder / "state"))
        patch.chdir(ROOT)
        go_through(paths, folder)
    return paths


def go_through(paths: SimpleNamespace, folder: Path) -> None:
    """Run the stages after compress; what earlier stages report is made up."""
    from stages.snapshot import snapshot  # imports Evidently

    params = knobs(evaluate={"resamples": 200}, audit={"resamples": 200})
    for name, report in reports(TWO).items():
        setattr(paths, f"{name}_report", folder / f"{name}-report.json")
        write_report(report, getattr(paths, f"{name}_report"))
    own = {name: getattr(paths, f"{name}_report") for name in REPORTS}
    calibrate(params, paths, SimpleNamespace(calibration=paths.calibration, report=own["calibration"]))
    evaluate(params, paths, SimpleNamespace(**{**vars(paths), "report": own["evaluation"]}))
    audit(params, paths, SimpleNamespace(report=paths.audit))
    snapshot(params, paths, paths)
    challenge(params, SimpleNamespace(champion=folder / "nobody", predictions=paths.predictions), SimpleNamespace(report=own["challenge"]))
    judged = {name: own[name] for name in ("compression", "latency", "evaluation", "challenge")}
    gate(params, SimpleNamespace(**judged, metrics=paths.metrics, audit=paths.audit), paths)
    own |= {"audit": paths.audit, "drift": paths.drift, "verdict": paths.verdict}
    (folder / "runs").mkdir()
    for run in runs():
        write_report(run, folder / "runs" / f"{run['stage']}.json")
    (folder / "raw").write_bytes(b"rows")
    (folder / "constraints.txt").write_text(installed(), encoding="utf-8")
    others = {"artifact": paths.artifact, "raw": folder / "raw", "runs": folder / "runs", "constraints": folder / "constraints.txt"}
    document(params, SimpleNamespace(**own, **others), paths)
    package(params, SimpleNamespace(**{**vars(paths), **others}), paths)


def test_calibration_and_evaluation_speak_of_both_labels(made: SimpleNamespace) -> None:
    assert Classifier.load(made.artifact, made.calibration).labels == TWO
    report = read_report(made.evaluation_report)
    assert [row["label"] for row in report["classes"]] == list(TWO)
    assert sum(map(sum, report["confusion"]["counts"])) == ROWS["test"]
    assert set(pd.read_csv(made.confusion).stack()) == set(TWO)


def test_every_group_is_audited(made: SimpleNamespace) -> None:
    found = read_report(made.audit)
    assert found["reason"] is None
    assert {gap["label"] for column in found["columns"] for gap in column["gaps"]} == {None, *TWO}


def test_the_page_shows_classification_and_drift(made: SimpleNamespace) -> None:
    page = made.page.read_text(encoding="utf-8")
    assert "Classification Model Performance" in page
    assert "0 is *parcels*, 1 is *refunds*." in page
    assert read_report(made.drift)["rows"] == {"reference": 200, "current": 160, "heldout": 140}


def test_the_verdict_rests_on_figures_of_every_rule(made: SimpleNamespace) -> None:
    verdict = read_report(made.verdict)
    assert "missing" not in {rule["outcome"] for rule in verdict["rules"]}


def test_card_dossier_and_bento_are_written(made: SimpleNamespace) -> None:
    assert all(label in made.card.read_text(encoding="utf-8") for label in TWO)
    assert "</html>" in made.dossier.read_text(encoding="utf-8")
    assert yaml.safe_load((made.bento / "bento.yaml").read_text(encoding="utf-8"))["version"] == read_report(made.verdict)["model_version"]
    assert json.loads((made.bento / "src/artifact/artifact.json").read_text(encoding="utf-8"))["labels"] == list(TWO)
