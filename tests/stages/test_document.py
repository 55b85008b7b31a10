import json
import os
import subprocess
import sys
from pathlib import Path

from huggingface_hub import ModelCard

from tests.dossier_factories import ROOT, reports, runs
from tests.factories import tiny_artifact


def run_document(folder: Path, without: str = "") -> subprocess.CompletedProcess[str]:
    """Run the stage as dvc.yaml does, in a folder of its own."""
    found = reports()
    for name, report in found.items():
        (folder / f"{name}.json").write_text(json.dumps(report), encoding="utf-8")
    (folder / "runs").mkdir(exist_ok=True)
    for run in runs():
        (folder / "runs" / f"{run['stage']}.json").write_text(json.dumps(run), encoding="utf-8")
    (folder / "raw").write_bytes(b"rows")
    (folder / "constraints.txt").write_text("numpy==2.4.6\n", encoding="utf-8")
    (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    tiny_artifact(folder / "artifact")
    (folder / f"{without}.json").unlink(missing_ok=True)
    inputs = [*(f"{name}={name}.json" for name in found), "raw=raw", "runs=runs", "constraints=constraints.txt", "artifact=artifact"]
    outputs = ["card=card.md", "dossier=dossier.html", "provenance=provenance.json"]
    command = [sys.executable, "-X", "importtime", "-m", "stages.document", "--in", *inputs, "--out", *outputs]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "EVERGREEN_HOME": "state", "GIT_CEILING_DIRECTORIES": str(folder.parent)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_stage_writes_card_dossier_and_provenance_without_torch(tmp_path: Path) -> None:
    done = run_document(tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "card and dossier of harbour-inbox 0123456789ab: HOLD" in done.stdout
    assert ModelCard.load(tmp_path / "card.md").data.model_name == "harbour-inbox"
    assert "Harbour Bank support inbox router" in (tmp_path / "dossier.html").read_text(encoding="utf-8")
    origin = json.loads((tmp_path / "provenance.json").read_text(encoding="utf-8"))
    assert origin["code"] == {"commit": None, "dirty": None}
    assert origin["model"]["artifact_sha256"].keys() == {"model.onnx", "tokenizer.json"}
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "matplotlib" in imported
    assert not {"torch", "transformers", "pandas", "onnxruntime", "prefect"} & imported


def test_a_missing_report_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    done = run_document(tmp_path, without="audit")
    assert done.returncode == 1
    assert "document stopped: the report audit.json is missing; run the stage that writes it" in done.stderr
    assert not any((tmp_path / name).exists() for name in ("card.md", "dossier.html", "provenance.json"))
