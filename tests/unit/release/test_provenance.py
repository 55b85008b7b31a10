import json
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from evergreen.errors import EvidenceError
from evergreen.release.provenance import cost, git_state, read_runs
from tests.dossier_factories import origin, reports, runs


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=Jo", "-c", "user.email=jo@example.org")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init")
    for name in ("code.py", "dvc.lock"):
        (tmp_path / name).write_text("1", encoding="utf-8")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "one")
    return tmp_path


def test_a_clean_checkout_is_its_commit(repository: Path) -> None:
    state = git_state(repository)
    assert len(state["commit"]) == 40
    assert state["dirty"] is False


def test_a_changed_file_is_dirty_and_what_the_pipeline_writes_is_not(repository: Path) -> None:
    (repository / "dvc.lock").write_text("2", encoding="utf-8")
    assert git_state(repository, ignoring=["dvc.lock"])["dirty"] is False
    assert git_state(repository)["dirty"] is True
    (repository / "code.py").write_text("2", encoding="utf-8")
    assert git_state(repository, ignoring=["dvc.lock"])["dirty"] is True


def test_without_git_the_commit_is_unknown_and_not_invented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state(tmp_path) == {"commit": None, "dirty": None}
    monkeypatch.setenv("PATH", "")
    assert git_state(tmp_path) == {"commit": None, "dirty": None}


def test_the_energy_is_seconds_times_watts_and_says_that_it_is_an_estimate() -> None:
    one = {"stage": "clean", "seconds": 1800.0, "cpu_seconds": 3000.0, "started": "x", "peak_megabytes": 1.0}
    found = cost([one, {**one, "stage": "split"}], watts=65)
    assert (found["seconds"], found["cpu_seconds"], found["energy_watt_hours"]) == (3600.0, 6000.0, 65.0)
    assert "an estimate, not a measurement" in found["energy_is"]


def test_runs_come_in_the_order_in_which_they_started(tmp_path: Path) -> None:
    for run in reversed(runs()):
        (tmp_path / f"{run['stage']}.json").write_text(json.dumps(run), encoding="utf-8")
    assert read_runs(tmp_path) == runs()


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "clean.json").write_text("{", encoding="utf-8")
    with pytest.raises(EvidenceError, match=r"clean\.json is not valid JSON"):
        read_runs(tmp_path)


def test_the_record_holds_data_seeds_machine_and_dependencies(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(b"rows")
    found = origin(reports(), tmp_path / "raw")
    assert found["data_sha256"] == sha256(b"rows").hexdigest()
    assert found["seeds"] == {"split": 17, "finetune": 17, "evaluate": 17, "audit": 17, "snapshot": 17, "challenge": 17}
    assert (found["torch"], found["hardware"]["isa"], found["hardware"]["processor"]) == ("2.13.0+cpu", "AVX512", "Example CPU")
    assert found["dependencies"]["packages"] == {"numpy": "2.4.6", "torch": "2.13.0"}
    assert found["params"]["document"]["name"] == "harbour-inbox"


def test_what_training_did_not_record_is_null(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(b"rows")
    given = reports()
    given["training"] = {"rows": 1}
    found = origin(given, tmp_path / "raw")
    assert (found["torch"], found["model"]["weights_sha256"], found["hardware"]["isa"]) == (None, None, None)
