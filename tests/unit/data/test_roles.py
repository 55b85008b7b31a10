from pathlib import Path

import pandas as pd
import pytest

from evergreen.data.roles import canonical_split, to_examples
from evergreen.data.sources import read_source
from evergreen.errors import ColumnError, SourceError
from tests.data_factories import columns, shared, write_csv


def table_of(path: Path, rows: list[list[str]], **roles: object) -> pd.DataFrame:
    return to_examples(read_source(write_csv(path / "data.csv", rows)), columns(**roles))


def refused(path: Path, rows: list[list[str]], **roles: object) -> str:
    with pytest.raises(ColumnError) as fault:
        table_of(path, rows, **roles)
    return str(fault.value)


FULL = [
    ["no", "body", "team", "when", "who", "age"],
    ["1", "hi", "x", "2025-01-02", "c1", " 18-34 "],
    ["2", "ho", "1", "2025-01-03T04:05:06+02:00", "", ""],
]
ROLES = {"text": "body", "label": "team", "id": "no", "time": "when", "customer": "who", "groups": ["age"]}


def test_columns_take_the_names_of_their_roles_in_order(tmp_path: Path) -> None:
    table = table_of(tmp_path, FULL, **ROLES)
    assert list(table.columns) == ["id", "text", "label", "timestamp", "customer", "group_age"]
    assert table["group_age"].tolist() == ["18-34", "missing"]
    assert table["label"].tolist() == ["x", "1"]


def test_context_columns_come_after_the_groups_and_know_what_is_missing(tmp_path: Path) -> None:
    rows = [[*FULL[0], "channel"], [*FULL[1], "chat "], [*FULL[2], ""]]
    table = table_of(tmp_path, rows, **ROLES, context=["channel"])
    assert list(table.columns)[-2:] == ["group_age", "context_channel"]
    assert table["context_channel"].tolist() == ["chat", "missing"]


def test_timestamps_become_naive_utc(tmp_path: Path) -> None:
    table = table_of(tmp_path, FULL, **ROLES)
    assert table["timestamp"].tolist() == [pd.Timestamp("2025-01-02"), pd.Timestamp("2025-01-03 02:05:06")]


def test_dates_with_the_day_first_are_read_where_only_that_fits(tmp_path: Path) -> None:
    table = table_of(tmp_path, [["text", "label", "d"], ["a", "x", "03/04/2025"], ["b", "x", "25/04/2025"]], time="d")
    assert table["timestamp"].tolist() == [pd.Timestamp("2025-04-03"), pd.Timestamp("2025-04-25")]


def test_dates_that_may_be_day_or_month_first_are_refused(tmp_path: Path) -> None:
    message = refused(tmp_path, [["text", "label", "d"], ["a", "x", "03/04/2025"]], time="d")
    assert message == "the dates of column 'd' (such as '03/04/2025') may be day/month or month/day; write them as YYYY-MM-DD"


def test_dates_that_cannot_be_read_name_their_rows(tmp_path: Path) -> None:
    rows = [["n", "text", "label", "d"], ["A1", "a", "x", "2025-01-01"], ["A2", "b", "x", "soon"], ["A3", "c", "x", ""]]
    message = refused(tmp_path, rows, time="d", id="n")
    assert message.startswith("2 dates of column 'd' could not be read (A2: 'soon', A3: '')")
    assert "set ingest.columns.time to null" in message


def test_a_wrong_column_is_met_with_the_choices_and_the_closest(tmp_path: Path) -> None:
    message = refused(tmp_path, [["Text", "label"], ["a", "x"]])
    assert message == f"{tmp_path / 'data.csv'} has no column 'text' (did you mean 'Text'?); the columns are 'Text', 'label'"


def test_a_wrong_column_unlike_all_gets_the_choices_alone(tmp_path: Path) -> None:
    message = refused(tmp_path, [["text", "label"], ["a", "x"]], groups=["zzz"])
    assert message.endswith("has no column 'zzz'; the columns are 'text', 'label'")


def test_a_column_that_one_file_of_a_folder_lacks_is_refused(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [["text", "label", "age"], ["a", "x", "1"]])
    write_csv(tmp_path / "b.csv", [["text", "label"], ["b", "x"]])
    with pytest.raises(ColumnError, match=r"b\.csv has no column 'age' \(a\.csv has it\); the columns are 'text', 'label'"):
        to_examples(read_source(tmp_path), columns(groups=["age"]))


def test_columns_without_a_role_may_differ_between_files(tmp_path: Path) -> None:
    write_csv(tmp_path / "dev.csv", [["text", "label", "note"], ["a", "x", "1"]])
    write_csv(tmp_path / "train.csv", [["label", "text"], ["x", "b"]])
    table = to_examples(read_source(tmp_path), columns())
    assert table[["text", "label", "split"]].to_numpy().tolist() == [["a", "x", "validation"], ["b", "x", "train"]]


def test_repeated_ids_are_refused(tmp_path: Path) -> None:
    message = refused(tmp_path, [["n", "text", "label"], ["7", "a", "x"], ["7", "b", "x"], ["8", "c", "x"]], id="n")
    assert message.startswith("column 'n' repeats 1 id ('7'); make them unique, or set ingest.columns.id to null")


def test_empty_ids_are_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, [["n", "text", "label"], ["7", "a", "x"], [" ", "b", "x"]], id="n").startswith(
        "1 row without an id in column 'n' (row 2)"
    )


def test_derived_ids_are_unique_for_equal_rows_and_do_not_depend_on_the_order(tmp_path: Path) -> None:
    rows = [["a", "x"], ["b", "x"], ["a", "x"], ["a", "y"]]
    one = table_of(tmp_path, [["text", "label"], *rows])
    other = table_of(tmp_path, [["text", "label"], *rows[::-1]])
    assert one["id"].is_unique
    assert set(one["id"]) == set(other["id"])
    assert one.set_index("id")["text"].to_dict() == other.set_index("id")["text"].to_dict()


def test_a_split_column_is_read_by_meaning_and_other_names_stay(tmp_path: Path) -> None:
    table = table_of(tmp_path, [["text", "label", "s"], ["a", "x", "Training"], ["b", "x", "dev"], ["c", "x", "later"]], split="s")
    assert table["split"].tolist() == ["train", "validation", "later"]
    assert canonical_split(" Test ") == "test"


def test_a_chinese_source_keeps_its_labels_as_written() -> None:
    table = to_examples(read_source(shared("cold")), columns(text="TEXT", groups=["topic"]))
    assert sorted(table["label"].unique()) == ["0", "1"]
    assert table["id"].is_unique


def mixed_folder(path: Path) -> Path:
    """A folder with train.csv, test.csv and a file whose name says no split."""
    for name, split in (("train", "train"), ("test", "test"), ("extra", "train")):
        write_csv(path / f"{name}.csv", [["text", "label", "part"], [f"a {name} text", "x", split]])
    return path


def test_a_folder_of_which_only_some_files_tell_their_split_is_refused_with_the_choices(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as fault:
        to_examples(read_source(mixed_folder(tmp_path)), columns())
    assert str(fault.value) == (
        f"some files of the folder {tmp_path} tell their split by their name, but not extra.csv. "
        "Rename what belongs to a split (train, validation, calibration, test), take other files out of the folder, "
        "or name the column that tells the split: --split COL (ingest.columns.split)"
    )


def test_a_split_column_speaks_for_files_of_any_name(tmp_path: Path) -> None:
    table = to_examples(read_source(mixed_folder(tmp_path)), columns(split="part"))
    assert dict(zip(table["text"], table["split"], strict=True)) == {
        "a extra text": "train",
        "a test text": "test",
        "a train text": "train",
    }
