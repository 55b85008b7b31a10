"""Labels from a file: empty cells are left out, contradictions are refused, and a fault names its row."""

from pathlib import Path

import pytest

from evergreen.errors import MonitorError
from evergreen.monitoring.watch.labelled_file import read_labels

ID = "0199" * 8


def written(folder: Path, content: str, encoding: str = "utf-8") -> Path:
    (folder / "batch.csv").write_bytes(content.encode(encoding))
    return folder / "batch.csv"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("mark", [",", ";"])
def test_filled_in_rows_are_told(tmp_path: Path, encoding: str, mark: str) -> None:
    rows = [["id", "text", "label"], [ID, '"line one\n\nline two"', "card"], ["1" * 32, "not filled in", ""]]
    path = written(tmp_path, "\r\n".join(mark.join(row) for row in rows), encoding)
    [told] = read_labels(path, now=5.0)
    assert (told.request_id, told.label, told.time) == (ID, "card", 5.0)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("id,text\nx,y\n", "has no column label"),
        (f"id,label\n{ID},card\nM01,card\n", "row 3: 'M01' is no id"),
        ("id,label\n" + ID + ",\n", "holds no label yet"),
        (f"id,label\n{ID},card\n{'1' * 32},card\n{ID},fraud\n", f"rows 2 and 4: 'card' and 'fraud' are told of the same answer, {ID}"),
        (f'id,label\n{ID},card\n{ID},"card\n', "after line 2: unexpected end of data; is a quotation mark missing"),
        ("", "has no column id and no column label"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_clear_message(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(MonitorError, match=words):
        read_labels(written(tmp_path, content), now=0.0)


def test_the_same_told_twice_of_an_answer_is_one_label(tmp_path: Path) -> None:
    assert len(read_labels(written(tmp_path, f"id,label\n{ID},card\n{ID},card\n"), now=0.0)) == 1


def test_a_missing_file_is_one_clear_message(tmp_path: Path) -> None:
    with pytest.raises(MonitorError, match="cannot be read"):
        read_labels(tmp_path / "nowhere.csv", now=0.0)
