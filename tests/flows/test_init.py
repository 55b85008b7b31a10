import io
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from evergreen.config import Params, load_params
from evergreen.errors import EvergreenError
from evergreen.params_file import edit_params
from flows.__main__ import main
from flows.commands.init import init
from tests.data_factories import ROOT, messages, shared, write_csv

# DVC itself uses what its library is about to drop.
FROM_DVC = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise:DeprecationWarning")
TEXT = (ROOT / "params.yaml").read_bytes()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a fresh params.yaml, in which the command runs."""
    (tmp_path / "params.yaml").write_bytes(TEXT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def started(file: Path | str, **roles: object) -> str:
    """Run init and return what it showed."""
    shown = io.StringIO()
    settings = {"text": "text", "label": "label", "groups": [], "time": None, "row_id": None, "customer": None, "split": None, **roles}
    init(Path(file), **settings, params_path=Path("params.yaml"), console=Console(file=shown, width=110))
    return shown.getvalue()


def refused(file: Path | str, **roles: object) -> str:
    """Run init, which must refuse and leave params.yaml byte for byte; return the message."""
    before = Path("params.yaml").read_bytes() if Path("params.yaml").exists() else None
    with pytest.raises(EvergreenError) as fault:
        started(file, **roles)
    after = Path("params.yaml").read_bytes() if Path("params.yaml").exists() else None
    assert after == before
    assert not list(Path().glob(".params*"))
    return str(fault.value)


def params() -> Params:
    return load_params(Path("params.yaml"))


def test_the_command_line_writes_params_for_the_file(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_csv(project / "help desk 2025.csv", messages())
    main(["init", "help desk 2025.csv", "--text", "text", "--label", "label", "--group", "group"])
    shown = capsys.readouterr().out
    assert "240" in shown
    assert "evergreen train" in shown
    assert "dvc repro" in shown
    columns = params().ingest.columns
    assert params().ingest.source == "help desk 2025.csv"
    assert (columns.text, columns.label, columns.groups, columns.id, columns.time) == ("text", "label", ["group"], None, None)
    assert params().document.name == "help-desk-2025"
    assert params().document.title == "Help desk 2025 classifier"
    assert params().gate.rules.worst_group is not None


def test_context_columns_are_written_and_shown(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_csv(
        project / "data.csv", [[*row, "channel" if place == 0 else ("chat", "email")[place % 2]] for place, row in enumerate(messages())]
    )
    main(["init", "data.csv", "--text", "text", "--label", "label", "--context", "channel"])
    assert (params().ingest.columns.context, params().ingest.columns.groups) == (["channel"], [])
    assert "Context channel" in capsys.readouterr().out


def test_to_read_the_command_line_loads_no_library_of_a_command() -> None:
    code = "import sys, flows.__main__; flows.__main__._parser(); print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert "argparse" in loaded
    assert {"pandas", "pandera", "numpy", "dvc", "prefect", "torch"}.isdisjoint(loaded)


def test_what_was_found_is_shown(project: Path) -> None:
    shown = started(
        write_csv(project / "data.csv", [*messages(), ["", "card", "g0"], ["where is it", "fees", "g1"], ["where is it", "card", "g1"]]),
        groups=["group"],
    )
    facts = {line.split("  ")[1].strip() if line.startswith(" ") else line: line for line in shown.splitlines() if line.strip()}
    assert facts["rows"].split() == ["rows", "243"]
    assert facts["script"].split() == ["script", "latin", "100.0%"]
    assert facts["empty texts"].split()[-1] == "1"
    assert facts["repeated texts"].split()[-1] == "1"
    assert "2 rows whose text also has another label" in shown
    assert "3 labels; the largest has" in shown
    assert "Group group" in shown
    assert "validate will refuse this data: texts that are empty" in shown


def test_a_users_other_edits_and_all_comments_stay(project: Path) -> None:
    edited = TEXT.replace(b"learning_rate: 1.5e-4 ", b"learning_rate: 2.5e-4 ").replace(b"# peak, of AdamW", b"# my own words")
    assert edited != TEXT
    Path("params.yaml").write_bytes(edited)
    started(write_csv(project / "data.csv", messages()))
    assert params().finetune.learning_rate == 2.5e-4
    text = Path("params.yaml").read_text(encoding="utf-8")
    assert "# my own words" in text
    assert text.count("#") == edited.decode().count("#")


def test_group_rules_go_without_groups_and_come_back_with_them(project: Path) -> None:
    file = write_csv(project / "data.csv", messages())
    started(file)
    assert (params().gate.rules.worst_group, params().gate.rules.fairness_gap) == (None, None)
    started(file, groups=["group"])
    assert params().gate.rules.worst_group.min_value == 0.7
    assert params().gate.rules.fairness_gap.max_upper == 0.2


def test_the_second_run_on_the_same_file_keeps_what_a_person_said_of_the_model(project: Path) -> None:
    file = write_csv(project / "data.csv", messages())
    started(file)
    text = Path("params.yaml").read_text(encoding="utf-8").replace("owner: Not stated yet", "owner: Ada")
    Path("params.yaml").write_text(text, encoding="utf-8")
    assert "nothing to change" in started(file)
    assert params().document.owner == "Ada"


def test_a_folder_of_splits_is_used_as_given(project: Path) -> None:
    folder = project / "data"
    folder.mkdir()
    write_csv(folder / "train.csv", messages(240))
    write_csv(folder / "test.csv", messages(60))
    shown = started(folder)
    assert params().split.method == "given"
    assert "test 60, train 240" in shown


def test_a_wrong_column_is_met_with_the_choices(project: Path) -> None:
    file = write_csv(project / "data.csv", messages())
    assert refused(file, label="lable") == f"{file} has no column 'lable' (did you mean 'label'?); the columns are 'text', 'label', 'group'"


def test_a_missing_file_is_refused(project: Path) -> None:
    assert refused("gone.csv").startswith("gone.csv does not exist; give the path of a file")


def test_an_unreadable_file_is_refused(project: Path) -> None:
    Path("data.parquet").write_bytes(b"PAR1 and then nothing")
    assert refused("data.parquet").startswith("data.parquet is not a complete Parquet file")


def test_a_broken_encoding_is_refused_with_the_way_out(project: Path) -> None:
    Path("data.csv").write_bytes("text,label\nh\u00f4tel,x\n".encode("cp1252"))
    message = refused("data.csv")
    assert message.startswith("data.csv is not UTF-8: line 2, byte 12 is 0xf4. It reads as cp1252")
    assert "iconv -f cp1252 -t utf-8 data.csv > data.utf8.csv" in message


def test_labels_with_too_few_rows_are_listed_with_the_choices(project: Path) -> None:
    file = write_csv(
        project / "data.csv", [*messages(), ["a rare case", "rare", "g0"], ["another", "rarer", "g0"], ["one more", "rare", "g0"]]
    )
    assert refused(file) == (
        f"{file} cannot be used yet; params.yaml is as it was:\n"
        "- labels with fewer than 20 rows (rare: 2; rarer: 1): 3 rows. "
        "Add rows, merge or drop these labels, or lower validate.min_rows_per_label"
    )


def test_labels_with_fewer_rows_than_splits_are_refused_even_where_validate_would_take_them(project: Path) -> None:
    Path("params.yaml").write_bytes(TEXT.replace(b"min_rows_per_label: 20 ", b"min_rows_per_label: 2 "))
    file = write_csv(project / "data.csv", [*messages(), *[[f"odd {row}", "odd", "g0"] for row in range(3)]])
    assert refused(file).startswith(f"{file} has labels with fewer than 4 rows, one for each split (odd: 3); add rows, merge or drop")


def with_splits(*names: str) -> list[list[str]]:
    return [["text", "label", "part"], *[[*row[:2], names[place % len(names)]] for place, row in enumerate(messages()[1:])]]


def test_split_names_that_mean_nothing_are_refused_with_the_choices(project: Path) -> None:
    file = write_csv(project / "data.csv", with_splits("train", "later"))
    assert refused(file, split="part").startswith(
        "the split column holds 'later' (120 rows); the choices are train, validation, calibration, test. "
        "Rename or take out these rows, or leave out --split"
    )


def test_labels_without_train_rows_are_refused(project: Path) -> None:
    file = write_csv(project / "data.csv", with_splits("train", "dev", "test"))  # three labels in turn, too: one to each split
    assert refused(file, split="part").startswith(f"{file}: 2 labels without train rows (fees; fraud); add rows, merge or drop")


def test_a_split_column_is_used_as_given(project: Path) -> None:
    started(write_csv(project / "data.csv", with_splits("train", "train", "train", "test")), split="part")
    assert (params().split.method, params().ingest.columns.split) == ("given", "part")


def test_too_few_rows_and_a_single_label_are_refused(project: Path) -> None:
    assert "- fewer than 200 rows: 120 rows. Collect more rows" in refused(write_csv(project / "few.csv", messages(120)))
    assert "- only 1 label" in refused(write_csv(project / "one.csv", messages(labels=["card"])))


def test_one_column_in_two_roles_is_refused(project: Path) -> None:
    file = write_csv(project / "data.csv", messages())
    assert refused(file, label="text") == (
        "the columns cannot be used like this: column 'text' is given two roles; each of text, label, id, time, customer and split "
        "needs its own. params.yaml is as it was"
    )


def test_a_column_of_many_values_is_no_group(project: Path) -> None:
    file = write_csv(
        project / "data.csv", [["text", "label", "who"], *[[*row[:2], str(place)] for place, row in enumerate(messages()[1:])]]
    )
    assert refused(file, groups=["who"]).startswith("column 'who' has 240 different values, too many for groups (at most 100)")
    assert "leave out --context who" in refused(file, context=["who"])


@pytest.fixture
def pipeline(project: Path) -> Path:
    """The project with the pipeline's dvc.yaml, and a raw table that it wrote."""
    (project / "dvc.yaml").write_bytes((ROOT / "dvc.yaml").read_bytes())
    (project / "data" / "splits").mkdir(parents=True)
    pd.DataFrame(messages()[1:], columns=messages()[0]).to_parquet(project / "data" / "raw.parquet")
    return project


@FROM_DVC
@pytest.mark.parametrize(
    ("place", "named"),
    [
        ("data", "data/raw.parquet, data/clean.parquet, data/splits"),
        ("./data/../data/", "data/raw.parquet, data/clean.parquet, data/splits"),
        (".", "data/raw.parquet, runs/ingest.json, reports/quality.json ..."),
        ("data/raw.parquet", "data/raw.parquet"),
        ("data/splits/train.csv", "data/splits"),
        ("reports/../reports/metrics.json", "reports/metrics.json"),
    ],
)
def test_a_place_that_the_pipeline_writes_to_is_no_source(pipeline: Path, place: str, named: str) -> None:
    write_csv(pipeline / "data" / "splits" / "train.csv", messages())
    for file in (place, pipeline / place):
        assert f"cannot be the source: the pipeline itself writes there ({named}). Move your data into a folder" in refused(file)


@FROM_DVC
def test_a_file_beside_what_the_pipeline_writes_is_a_source(pipeline: Path) -> None:
    write_csv(pipeline / "data" / "own.csv", messages())
    started("data/own.csv")
    assert params().ingest.source == "data/own.csv"


@FROM_DVC
def test_a_source_that_dvc_refuses_can_be_mended(pipeline: Path) -> None:
    edit_params(Path("params.yaml"), {"ingest.source": "data/raw.parquet"})
    write_csv(pipeline / "own.csv", messages())
    started("own.csv")
    assert params().ingest.source == "own.csv"


def test_a_missing_params_file_is_said(project: Path) -> None:
    file = write_csv(project / "data.csv", messages())
    Path("params.yaml").unlink()
    assert refused(file).startswith("params.yaml is missing; run from the project's folder")


def test_a_broken_params_file_is_said_and_kept(project: Path) -> None:
    file = write_csv(project / "data.csv", messages())
    Path("params.yaml").write_text("ingest: [", encoding="utf-8")
    assert refused(file).startswith("params.yaml is not valid YAML")


@pytest.mark.parametrize(
    ("parts", "roles", "method", "epochs"),
    [
        (("banking77",), {"label": "category"}, "given", 8),
        (("kiva", "kiva_default.csv"), {"groups": ["region", "gender"], "time": "date", "row_id": "id"}, "stratified", 8),
        (("cold",), {"text": "TEXT", "groups": ["topic"]}, "given", 3),
    ],
)
def test_real_sources_are_taken_as_they_are(project: Path, parts: tuple[str, ...], roles: dict, method: str, epochs: int) -> None:
    started(shared(*parts), **roles)
    assert (params().split.method, params().finetune.epochs) == (method, epochs)


def test_a_real_source_with_rare_labels_is_refused_with_the_list(project: Path) -> None:
    message = refused(shared("neiss_fireworks"), text="Narrative", label="Diagnosis", groups=["Sex"], time="Treatment_Date")
    assert "labels with fewer than 20 rows (Anoxia: 13; Avulsion: 14; " in message
