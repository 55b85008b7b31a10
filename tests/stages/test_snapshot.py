import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from evergreen.config import load_params
from evergreen.data.records import read_table, write_table
from evergreen.drift.reference import Reference
from evergreen.errors import EvidenceError
from evergreen.model.inference import Classifier
from evergreen.reports import read_report, write_report
from tests.drift_factories import audit_report
from tests.factories import examples, tiny_artifact, tiny_calibration

ROOT = Path(__file__).parents[2]
# As `python -m stages.snapshot`; and then nothing of torch may have been loaded.
RUN = """
import sys
from stages._run import main
from stages.snapshot import snapshot
main(snapshot, sys.argv[1:])
sys.exit("torch was imported" if "torch" in sys.modules else 0)
"""


def workplace(folder: Path, version: str | None = None) -> Path:
    """Write what the stage reads: a tiny artifact, splits, the artifact's own predictions, an audit."""
    tiny_artifact(folder / "artifact")
    classifier = Classifier.load(folder / "artifact", tiny_calibration(folder / "calibration.json"))
    (folder / "splits").mkdir()
    for seed, (name, rows) in enumerate({"train": 200, "validation": 40, "calibration": 40, "test": 120}.items()):
        write_table(examples(rows, seed=seed), folder / "splits" / f"{name}.parquet")
    test = read_table(folder / "splits" / "test.parquet")
    probabilities = classifier.probabilities(test["text"].tolist())
    answers = {
        "prediction": np.array(classifier.labels)[probabilities.argmax(axis=1)],
        "confidence": probabilities.max(axis=1),
        "probabilities": list(probabilities),
        "model_version": version or classifier.version,
    }
    write_table(test.assign(**answers), folder / "predictions.parquet")
    write_report(audit_report(), folder / "audit.json")
    (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    return folder


def run_snapshot(folder: Path, out: str) -> subprocess.CompletedProcess[str]:
    names = {"artifact": "artifact", "calibration": "calibration.json", "splits": "splits", "predictions": "predictions.parquet"}
    inputs = [f"{name}={path}" for name, path in {**names, "audit": "audit.json"}.items()]
    outputs = [f"reference={out}/reference", f"drift={out}/drift.json", f"page={out}/page.html"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "EVERGREEN_HOME": "state", "DO_NOT_TRACK": "1"}
    command = [sys.executable, "-c", RUN, "--in", *inputs, "--out", *outputs]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = workplace(tmp_path_factory.mktemp("snapshot"))
    return folder, run_snapshot(folder, "one")


def test_the_reference_holds_every_test_row_and_what_the_model_said(done) -> None:
    folder, run = done
    assert run.returncode == 0, run.stderr
    kept, made = read_table(folder / "one/reference/reference.parquet"), read_table(folder / "predictions.parquet")
    assert kept["id"].tolist() == made["id"].tolist()
    assert np.allclose(np.stack(kept["probabilities"]), np.stack(made["probabilities"]))
    assert np.stack(kept["embedding"]).shape == (120, 5)
    assert read_report(folder / "one/reference/reference.json")["model_version"] == made["model_version"].iloc[0]
    assert "please" in Reference.load(folder / "one/reference").train.words


def test_rows_of_one_source_raise_no_alarm_and_the_stage_says_so(done) -> None:
    folder, run = done
    drift = read_report(folder / "one/drift.json")
    assert drift["rows"] == {"reference": 200, "current": 120, "heldout": 80}
    assert drift["drifted"] == 0
    assert "drift of test: 0 of 16 tests alarm (level 0.01, Bonferroni)" in run.stdout


def test_a_second_run_gives_the_same_bytes(done) -> None:
    folder, _ = done
    assert run_snapshot(folder, "two").returncode == 0
    for name in (
        "drift.json",
        "page.html",
        "reference/reference.parquet",
        "reference/reference.json",
        "reference/words.json",
        "reference/calibration.json",
    ):
        one, two = (sha256((folder / out / name).read_bytes()).hexdigest() for out in ("one", "two"))
        assert one == two, name


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # Evidently's, at import
def test_predictions_of_another_model_are_refused(tmp_path: Path) -> None:
    from stages.snapshot import snapshot

    folder = workplace(tmp_path, version="another")
    files = {"artifact": "artifact", "calibration": "calibration.json", "splits": "splits", "predictions": "predictions.parquet"}
    outputs = {name: tmp_path / name for name in ("reference", "drift", "page")}
    with pytest.raises(EvidenceError, match=r"predictions.parquet was made by model \['another'\]"):
        snapshot(
            load_params(ROOT / "params.yaml"),
            SimpleNamespace(**{name: folder / file for name, file in files.items()}),
            SimpleNamespace(**outputs),
        )
    assert not any(path.exists() for path in outputs.values())
