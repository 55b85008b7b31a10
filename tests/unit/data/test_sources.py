from pathlib import Path

import pandas as pd
import pytest

from evergreen.data.sources import read_source
from evergreen.errors import SourceError
from tests.data_factories import shared, write_csv

TABLE = [["text", "label"], ["first, with a comma", "1"], ["two\nlines", "NA"], ["ünï", "None"]]


def only_table(path: Path) -> pd.DataFrame:
    (file,) = read_source(path).files
    return file.table


def refused(path: Path) -> str:
    with pytest.raises(SourceError) as fault:
        read_source(path)
    return str(fault.value)


@pytest.mark.parametrize(
    ("suffix", "form"),
    [
        (".csv", {}),
        (".csv", {"encoding": "utf-8-sig"}),
        (".csv", {"lineterminator": "\r\n"}),
        (".csv", {"lineterminator": "\n"}),
        (".csv", {"delimiter": ";"}),
        (".tsv", {"delimiter": "\t"}),
    ],
)
def test_separated_text_is_read_as_it_stands(tmp_path: Path, suffix: str, form: dict) -> None:
    table = only_table(write_csv(tmp_path / f"data{suffix}", TABLE, **form))
    assert [list(table.columns), *table.to_numpy().tolist()] == TABLE


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        ('"text, as written";label\nhello;x\n', ["text, as written", "label"]),
        ("text, as written;label\nhello;x\nhello, you, too;x\n", ["text, as written", "label"]),
        ("text, as written;label;age\nhello, you;x;1\n", ["text, as written", "label", "age"]),
        ('"text; as written",label\nhello,x\n', ["text; as written", "label"]),
        ("text,label\nhello; you; too,x\n", ["text", "label"]),
        ("text\tlabel\nhello, you; too\tx\n", ["text", "label"]),
        ("text\nhello; you\n", ["text"]),
    ],
)
def test_the_delimiter_is_the_one_that_fits_header_and_rows(tmp_path: Path, content: str, columns: list[str]) -> None:
    (tmp_path / "data.csv").write_text(content, encoding="utf-8")
    assert list(only_table(tmp_path / "data.csv").columns) == columns


@pytest.mark.parametrize("place", [0, 50])
def test_a_very_long_field_is_read_whole(tmp_path: Path, place: int) -> None:
    body = [[f"{row}, short", "x"] for row in range(60)]
    body[place] = ['long, "' * 30_000, "x"]
    table = only_table(write_csv(tmp_path / "data.csv", [["text", "label"], *body]))
    assert table["text"].str.len().max() == 210_000
    assert len(table) == 60


def test_json_lines_keep_numbers_as_written(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(
        '{"text": "a", "label": 1, "score": 1.50}\n\n{"text": "b", "label": null}\r\n{"text": "c", "label": true, "x": [1]}\n',
        encoding="utf-8",
    )
    assert only_table(path).to_numpy().tolist() == [["a", "1", "1.50", ""], ["b", "", "", ""], ["c", "true", "", '["1"]']]


def test_half_a_surrogate_pair_in_json_becomes_visible_damage(tmp_path: Path) -> None:
    path = tmp_path / "data.ndjson"
    path.write_text('{"text": "broken \\ud83d", "label": "whole \\ud83d\\ude48"}\n', encoding="utf-8")
    assert only_table(path).to_numpy().tolist() == [["broken \ufffd", "whole 🙈"]]


def test_parquet_is_read_as_text_whole_numbers_without_a_point(tmp_path: Path) -> None:
    pd.DataFrame({"text": ["a", None], "label": pd.array([1, None], dtype="Int64"), "kind": pd.Categorical(["x", "y"])}).to_parquet(
        tmp_path / "data.parquet"
    )
    assert only_table(tmp_path / "data.parquet").to_numpy().tolist() == [["a", "1", "x"], ["", "", "y"]]


def test_a_folder_gives_splits_by_name_and_says_what_it_left_alone(tmp_path: Path) -> None:
    for name in ("train.csv", "dev.csv", "TEST.csv"):
        write_csv(tmp_path / name, TABLE)
    (tmp_path / "LICENSE").write_text("free", encoding="utf-8")
    (tmp_path / "categories.json").write_text("[]", encoding="utf-8")
    source = read_source(tmp_path)
    assert [file.path.name for file in source.files] == ["TEST.csv", "dev.csv", "train.csv"]
    assert source.splits == ("test", "validation", "train")
    assert source.without_split == ()
    assert source.ignored == ("LICENSE", "categories.json")


def test_files_of_a_folder_without_split_names_give_no_split(tmp_path: Path) -> None:
    write_csv(tmp_path / "2024.csv", TABLE)
    write_csv(tmp_path / "2025.csv", TABLE)
    source = read_source(tmp_path)
    assert (source.splits, source.without_split) == (None, ())


def test_files_without_a_split_name_beside_files_with_one_are_told(tmp_path: Path) -> None:
    for name in ("train.csv", "labels.csv", "test.csv"):
        write_csv(tmp_path / name, TABLE)
    source = read_source(tmp_path)
    assert (source.splits, source.without_split) == (None, ("labels.csv",))


def test_the_name_of_a_single_file_says_no_split(tmp_path: Path) -> None:
    source = read_source(write_csv(tmp_path / "train.csv", TABLE))
    assert (source.splits, source.without_split) == (None, ())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert refused(tmp_path / "gone.csv").startswith(f"{tmp_path / 'gone.csv'} does not exist; give the path of a file (.csv, .tsv, .jsonl")


def test_an_unknown_kind_of_file_is_met_with_the_choices(tmp_path: Path) -> None:
    (tmp_path / "data.xlsx").write_bytes(b"PK")
    assert "is not a kind of file that can be read; the choices are .csv, .tsv, .jsonl, .ndjson, .parquet" in refused(
        tmp_path / "data.xlsx"
    )


def test_a_folder_without_usable_files_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    assert "has no file that can be read (it holds notes.txt)" in refused(tmp_path)


@pytest.mark.parametrize("content", [b"", b"text,label\r\n"])
def test_a_file_without_rows_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.csv").write_bytes(content)
    assert refused(tmp_path / "data.csv").startswith(f"{tmp_path / 'data.csv'} holds no rows")


def test_a_broken_encoding_is_placed_and_the_right_one_offered(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(b"text,label\nfine,1\n" + "caf\u00e9 closed,2\n".encode("cp1252"))
    message = refused(path)
    assert "is not UTF-8: line 3, byte 21 is 0xe9" in message
    assert "It reads as cp1252" in message
    assert "'café closed,2'" in message
    assert f"iconv -f cp1252 -t utf-8 {path} > {tmp_path / 'data.utf8.csv'}" in message


def test_a_broken_encoding_is_placed_behind_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(b"\xef\xbb\xbftext,label\n\xe9,2\n")
    assert "line 2, byte 14 is 0xe9" in refused(tmp_path / "data.csv")


def test_utf_16_is_recognised(tmp_path: Path) -> None:
    write_csv(tmp_path / "data.csv", TABLE, encoding="utf-16")
    assert "is encoded in UTF-16, not in UTF-8; convert it: iconv -f utf-16" in refused(tmp_path / "data.csv")


def test_utf_16_without_a_mark_is_not_taken_for_text(tmp_path: Path) -> None:
    write_csv(tmp_path / "data.csv", TABLE, encoding="utf-16-le")
    assert "data.csv, line 1 holds a NUL byte: it is not text, or it is UTF-16; convert it: iconv -f utf-16le" in refused(
        tmp_path / "data.csv"
    )


def test_a_file_that_may_not_be_opened_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    path = write_csv(tmp_path / "data.csv", TABLE)
    monkeypatch.setattr(Path, "read_bytes", closed)
    assert refused(path) == f"{path} cannot be opened (Permission denied); look at its permissions"


def test_a_ragged_row_is_placed_by_the_line_it_begins_on(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text('text,label\n"two\nlines",x\nHello, you,x\n', encoding="utf-8")
    assert "line 4: 3 fields where the header has 2 ('text', 'label'); the line begins 'Hello, you,x'" in refused(tmp_path / "data.csv")


def test_a_quote_that_is_never_closed_is_placed(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text('text,label\nfine,x\n"never closed,x\nmore,x\n', encoding="utf-8")
    assert "from line 3 on: unexpected end of data. A double quote is probably never closed" in refused(tmp_path / "data.csv")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data.csv", b"text,label\nHello, I am jo@example.org,x\n"),
        ("data.jsonl", b'{"text": "I am jo@example.org"\n'),
        ("data.jsonl", b'["I am jo@example.org"]\n'),
        ("data.csv", b"text,label\nI am jo@example.org at the caf\xe9,x\n"),
    ],
)
def test_a_bad_line_is_shown_without_personal_data(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert "I am [EMAIL]" in (message := refused(tmp_path / name))
    assert "jo@" not in message


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    write_csv(tmp_path / "data.csv", [["text", "text"], ["a", "b"]])
    assert "has two columns named 'text'" in refused(tmp_path / "data.csv")


def test_a_broken_json_line_is_placed(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text('{"text": "a"}\n\n{"text": "b"\n', encoding="utf-8")
    message = refused(tmp_path / "data.jsonl")
    assert "line 3 is not valid JSON" in message
    assert 'it begins \'{"text": "b"\'' in message


def test_a_json_line_that_is_no_object_is_placed(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text('["a", "b"]\n', encoding="utf-8")
    assert "line 1 is not an object {...}" in refused(tmp_path / "data.jsonl")


def test_a_truncated_parquet_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    pd.DataFrame({"text": ["a"] * 100}).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-40])
    assert "is not a complete Parquet file" in refused(path)


def test_banking77_is_read_whole() -> None:
    source = read_source(shared("banking77"))
    assert [len(file.table) for file in source.files] == [3080, 10003]
    assert source.splits == ("test", "train")
    assert source.ignored == ("LICENSE", "SOURCE.txt", "categories.json")


def test_a_chinese_source_with_byte_order_marks_is_read_whole() -> None:
    source = read_source(shared("cold"))
    assert source.rows == 37480
    assert all(file.table.columns[:2].tolist() == ["", "split"] for file in source.files)
