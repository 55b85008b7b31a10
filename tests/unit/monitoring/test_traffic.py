"""A window of the log becomes examples, all of them or none."""

import json
from datetime import datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from evergreen.data.records import group_columns, ordered, read_table
from evergreen.errors import LogError
from evergreen.monitoring.log import traffic
from evergreen.monitoring.log.request_log import Window
from evergreen.monitoring.log.traffic import export
from evergreen.sections.pipeline import Columns
from tests.log_factories import answered, filled, labelled, sqlite

START = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC


def test_the_table_is_one_of_examples(url: str, tmp_path: Path) -> None:
    first = answered("where is my card", time=START, groups={"age_band": "18-25"})
    second = answered("I want a loan", time=START + 1, groups={"language": "other"}, needs_person=True)
    told = [labelled(second.request_id, "card", time=1.0), labelled(second.request_id, "access", time=2.0)]
    with filled(url, [second, first, *told]) as engine:
        written = export(engine, Window(), tmp_path / "out.parquet")
    table = read_table(tmp_path / "out.parquet")
    assert list(ordered(table).columns) == list(table.columns)
    assert group_columns(table) == ["group_age_band", "group_language"]
    assert table["id"].tolist() == [first.request_id, second.request_id]
    assert table["text"].tolist() == [first.text, second.text]
    assert table["label"].isna().tolist() == [True, False] and table["label"][1] == "access"
    assert table["timestamp"].tolist() == [datetime(2023, 11, 14, 22, 13, 20), datetime(2023, 11, 14, 22, 13, 21)]
    assert table["group_age_band"].tolist() == ["18-25", "missing"]
    assert [list(row) for row in table["probabilities"]] == [[0.9, 0.1]] * 2
    assert table["answered"].tolist() == [True, False]
    assert (written.rows, written.labelled, written.first, written.last) == (2, 1, START, START + 1)
    labels = json.loads(pq.read_schema(tmp_path / "out.parquet").metadata[traffic.LABELS_KEY])
    assert labels == written.labels == {first.model_version: ["card", "access"]}


@pytest.mark.parametrize(
    ("window", "texts"),
    [
        (Window(), ["a", "b", "c"]),
        (Window(since=START + 1), ["b", "c"]),
        (Window(until=START + 1), ["a"]),
        (Window(since=START + 1, until=START + 2), ["b"]),
        (Window(version="new"), ["c"]),
        (Window(labelled=True), ["b"]),
        (Window(roles=("shadow",)), ["shadow of a"]),
        (Window(roles=("canary",)), ["c"]),
    ],
)
def test_a_window_holds_what_was_asked_for_and_nothing_else(url: str, tmp_path: Path, window: Window, texts: list[str]) -> None:
    a, b = answered("a", time=START), answered("b", time=START + 1)
    c = answered("c", time=START + 2, model_version="new", role="canary")
    shadow = answered("shadow of a", time=START, role="shadow", request_id=a.request_id, model_version="other")
    with filled(url, [a, b, c, shadow, labelled(b.request_id)]) as engine:
        export(engine, window, tmp_path / "out.parquet")
    assert read_table(tmp_path / "out.parquet")["text"].tolist() == texts


def test_rows_go_in_pieces_and_keep_their_order(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "PIECE", 7)
    with filled(url, [answered(f"{number}", time=START + number) for number in range(50)]) as engine:
        export(engine, Window(), tmp_path / "out.parquet")
    assert pq.ParquetFile(tmp_path / "out.parquet").num_row_groups == 8
    assert read_table(tmp_path / "out.parquet")["text"].tolist() == [f"{number}" for number in range(50)]


def test_an_empty_window_writes_nothing(url: str, tmp_path: Path) -> None:
    with filled(url, [answered(time=START)]) as engine:
        assert export(engine, Window(until=START), tmp_path / "folder" / "out.parquet").rows == 0
    assert not (tmp_path / "folder").exists()


def test_a_failure_half_way_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise OSError(28, "No space left on device")

    target = tmp_path / "folder" / "out.parquet"
    target.parent.mkdir()
    target.write_text("old")
    monkeypatch.setattr(traffic, "_table", failing)
    with filled(sqlite(tmp_path), [answered()]) as engine, pytest.raises(LogError, match=r"out\.parquet cannot be written: No space"):
        export(engine, Window(), target)
    assert [path.name for path in target.parent.iterdir()] == ["out.parquet"]
    assert target.read_text() == "old"


def test_more_groups_than_a_table_should_have_are_refused_until_some_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "MOST_GROUPS", 3)
    rows = [answered(groups={f"g{number}": "x"}) for number in range(5)]
    with filled(sqlite(tmp_path), rows) as engine:
        with pytest.raises(LogError, match="--group"):
            export(engine, Window(), tmp_path / "out.parquet")
        export(engine, Window(), tmp_path / "out.parquet", groups=["g1"])
    assert group_columns(read_table(tmp_path / "out.parquet")) == ["group_g1"]


def test_shadow_answers_are_not_mixed_with_those_that_callers_got(tmp_path: Path) -> None:
    with filled(sqlite(tmp_path), []) as engine, pytest.raises(LogError, match="by themselves"):
        export(engine, Window(roles=("champion", "shadow")), tmp_path / "out.parquet")


def test_what_was_labelled_is_there_to_be_learned_from(url: str) -> None:
    said = {"age_band": "18-25", "channel": "chat", "customer_id": "C1"}
    first = answered("where is my card", time=START, groups=said)
    second = answered("I want a loan", time=START + 1, groups={})
    nobody = answered("nobody told", time=START + 2)
    told = [labelled(first.request_id, "card", time=1.0), labelled(second.request_id, "x", time=1.0)]
    columns = Columns(text="t", label="l", id=None, time="d", customer="customer_id", split=None, groups=["age_band"], context=["channel"])
    with filled(url, [second, first, nobody, *told, labelled(second.request_id, "lending", time=2.0)]) as engine:
        table = traffic.labelled(engine, columns)
    assert table["id"].tolist() == [first.request_id, second.request_id]
    assert table["label"].tolist() == ["card", "lending"]
    assert table["timestamp"].tolist() == [datetime(2023, 11, 14, 22, 13, 20), datetime(2023, 11, 14, 22, 13, 21)]
    assert [table[name].tolist() for name in ("group_age_band", "context_channel", "customer")] == [
        ["18-25", "missing"], ["chat", "missing"], ["C1", ""],
    ]  # fmt: skip


def test_a_log_without_labels_has_nothing_to_learn_from(url: str) -> None:
    columns = Columns(text="t", label="l", id=None, time=None, customer=None, split=None, groups=["age_band"], context=[])
    with filled(url, [answered("nobody told")]) as engine:
        table = traffic.labelled(engine, columns)
    assert (len(table), list(table.columns)) == (0, ["id", "text", "label", "timestamp", "group_age_band"])
