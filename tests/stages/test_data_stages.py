import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from evergreen.config import Params
from evergreen.data.records import read_table
from evergreen.errors import QualityError
from evergreen.params_file import edit_params
from evergreen.reports import read_report
from evergreen.sections.pipeline import SPLITS
from stages.clean import clean
from stages.ingest import ingest
from stages.split import split
from stages.validate import validate
from tests.data_factories import INBOX, ROOT, good_rows, params, rows, write_csv

SOURCE = INBOX / "2025-01_to_2025-08.csv"


def prepared(folder: Path, settings: Params, source: Path = SOURCE) -> Path:
    """Run the four stages in this process and return the folder with what they wrote."""
    folder.mkdir()
    paths = {
        name: folder / name
        for name in ("raw.parquet", "quality.json", "quality.md", "clean.parquet", "cleaning.json", "splits", "split.json")
    }
    chosen = settings.ingest.model_copy(update={"source": str(source)})
    ingest(settings.model_copy(update={"ingest": chosen}), SimpleNamespace(), SimpleNamespace(raw=paths["raw.parquet"]))
    validate(settings, SimpleNamespace(raw=paths["raw.parquet"]), SimpleNamespace(report=paths["quality.json"], page=paths["quality.md"]))
    clean(settings, SimpleNamespace(raw=paths["raw.parquet"]), SimpleNamespace(clean=paths["clean.parquet"], report=paths["cleaning.json"]))
    split(settings, SimpleNamespace(clean=paths["clean.parquet"]), SimpleNamespace(splits=paths["splits"], report=paths["split.json"]))
    return folder


def run_stage(stage: str, folder: Path, *arguments: str, edits: dict[str, object] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a stage as dvc.yaml does, in a folder of its own with the project's params.yaml, edited."""
    (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    edit_params(folder / "params.yaml", edits or {})
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "EVERGREEN_HOME": "state"}
    command = [sys.executable, "-W", "error", "-m", f"stages.{stage}", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def test_the_example_inbox_goes_from_source_to_splits(tmp_path: Path, own_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = prepared(tmp_path / "run", params())
    cleaning, report = read_report(folder / "cleaning.json"), read_report(folder / "split.json")
    assert (cleaning["rows_in"], cleaning["duplicates_dropped"]) == (1515, 15)
    assert all(counts["found"] > 0 for counts in cleaning["masked"].values())
    for name, fraction in params().split.fractions.model_dump().items():
        table = read_table(folder / "splits" / f"{name}.parquet")
        assert abs(len(table) / 1500 - fraction) < 0.01
        assert set(table["label"]) == set(read_report(folder / "quality.json")["labels"])
        groups = ["group_age_band", "group_first_language"]
        assert list(table.columns) == ["id", "text", "label", "timestamp", "customer", *groups, "context_channel"]
    assert report["leakage"] == {"equal_texts": 0, "customers": 0, "near_duplicates": 0}
    assert "1,515 rows, 8 labels: fit to use" in capsys.readouterr().out


def test_two_runs_give_the_same_bytes(tmp_path: Path, own_home: Path) -> None:
    one, two = (prepared(tmp_path / name, params()) for name in ("one", "two"))
    files = [file.relative_to(one) for file in one.rglob("*") if file.is_file()]
    assert len(files) == 6 + len(SPLITS)
    assert [name for name in files if (one / name).read_bytes() != (two / name).read_bytes()] == []


def test_the_text_of_a_group_or_label_is_never_guessed_into_a_number(tmp_path: Path, own_home: Path) -> None:
    body = [[f"{'abcdefghijklmnop'[row % 16] * 9} {row * 7919}", str(row % 2), "NA"] for row in range(240)]
    content = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    content["ingest"]["columns"] = {"text": "t", "label": "l", "id": None, "time": None, "customer": None, "split": None, "groups": ["g"]}
    content["ingest"]["columns"]["context"] = []
    folder = prepared(tmp_path / "run", Params.model_validate(content), write_csv(tmp_path / "data.csv", [["t", "l", "g"], *body]))
    test = read_table(folder / "splits" / "test.parquet")
    assert set(test["label"]) == {"0", "1"}
    assert set(test["group_g"]) == {"NA"}


def test_a_refusal_names_rows_keeps_the_page_and_leaves_no_output(tmp_path: Path) -> None:
    rows(["", "fine", "cafÃ©"], ["x", "x", "y"]).to_parquet(tmp_path / "raw.parquet", index=False)
    done = run_stage(
        "validate", tmp_path, "--in", "raw=raw.parquet", "--out", "report=quality.json", "page=quality.md", "--record", "run.json"
    )
    assert done.returncode == 1
    assert "validate stopped: the data is refused by 4 checks:" in done.stderr
    assert "r0: [x] ''" in done.stderr
    assert "r2: [y] 'cafÃ©'" in done.stderr
    assert "The whole report is in state/refused/quality.md" in done.stderr
    assert "Traceback" not in done.stderr
    assert "**Refused by 4 checks.**" in (tmp_path / "state" / "refused" / "quality.md").read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["params.yaml", "raw.parquet", "state"]


def test_the_page_of_an_old_refusal_goes_when_the_data_is_fit(tmp_path: Path, own_home: Path) -> None:
    (tmp_path / "raw.parquet").write_bytes(b"")
    settings = params().model_copy(update={"validate_": params().validate_.model_copy(update={"min_rows": 2, "min_rows_per_label": 2})})
    outputs = SimpleNamespace(report=tmp_path / "quality.json", page=tmp_path / "quality.md")
    rows([""], ["x"]).to_parquet(tmp_path / "raw.parquet", index=False)
    with pytest.raises(QualityError):
        validate(settings, SimpleNamespace(raw=tmp_path / "raw.parquet"), outputs)
    assert (own_home / "refused" / "quality.md").exists()
    good_rows().to_parquet(tmp_path / "raw.parquet", index=False)
    validate(settings, SimpleNamespace(raw=tmp_path / "raw.parquet"), outputs)
    assert not (own_home / "refused" / "quality.md").exists()


def test_a_source_that_cannot_be_read_leaves_the_old_table(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(b"message_id,team\n\xff\xfe\xfd\n")
    (tmp_path / "raw.parquet").write_bytes(b"old")
    done = run_stage("ingest", tmp_path, "--out", "raw=raw.parquet", edits={"ingest.source": "data.csv"})
    assert done.returncode == 1
    assert done.stderr.startswith("\ningest stopped: data.csv is not UTF-8: line 2, byte 16 is 0xff")
    assert (tmp_path / "raw.parquet").read_bytes() == b"old"
    assert [path.name for path in tmp_path.glob(".*")] == []


@pytest.mark.parametrize("stage", ["ingest", "validate", "clean", "split"])
def test_the_data_stages_start_without_torch(stage: str) -> None:
    code = (
        f"import sys, stages.{stage}; print([m for m in ('torch', 'transformers', 'sklearn', 'matplotlib', 'prefect') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
