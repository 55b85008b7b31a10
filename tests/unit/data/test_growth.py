"""A data version that follows another: nothing leaves its split, the newest is the test, and a source reads it all again."""

import numpy as np
import pandas as pd
import pytest

from evergreen.data.growth import grown, laid_out, layout, placed, record
from evergreen.data.records import write_table
from evergreen.data.roles import to_examples
from evergreen.data.sources import read_source
from evergreen.sections.pipeline import SPLITS, Columns
from tests.evaluation_factories import knobs
from tests.factories import examples

COLUMNS = Columns(text="body", label="team", id=None, time="day", customer=None, split=None, groups=["age_band"], context=["channel"])
SETTINGS = knobs().retrain
ALONE = knobs().split.model_copy(update={"keep_together": []})  # rows of few customers, but for the tests about them


def known(rows=100, **columns):
    """Return rows that have been split before."""
    return examples(rows, start="2025-01-01").assign(
        split=np.resize([*["train"] * 6, "validation", "calibration", "test", "test"], rows), **columns
    )


def fresh(rows=100, **columns):
    """Return rows that came later, none of them known."""
    table = examples(rows, seed=9, start="2025-10-01")
    return table.assign(
        id=[f"new{row:04d}" for row in range(rows)], text=[f"{text} ({row})" for row, text in enumerate(table["text"])], **columns
    )


def grow(base, new, past=None, *, split=ALONE, min_label_rows=5, **fields):
    past = on_record(base) if past is None else past
    return grown(base, new, past, settings=SETTINGS.model_copy(update=fields), split=split, min_label_rows=min_label_rows)


def on_record(base, earlier=None):
    """Return the record of rows that have a split."""
    return record(base, {name: base[base["split"] == name] for name in SPLITS}, earlier)


def test_known_rows_stay_in_their_splits_and_new_ones_are_dealt_by_time():
    result = grow(known(), fresh())
    assert result.base["split"].tolist() == known()["split"].tolist()
    assert result.report["new"] == {"train": 55, "validation": 7, "calibration": 8, "test": 30}
    newest = result.batch.groupby("split")["timestamp"]
    assert newest.max()["train"] <= newest.min()["validation"]
    assert newest.max()["calibration"] <= newest.min()["test"] == result.since


def test_what_came_in_once_is_not_new_the_next_time():
    first = grow(known(), fresh(60))
    after = pd.concat([first.base, first.batch], ignore_index=True)
    second = grow(after, fresh(100))
    assert not {*second.batch["id"]} & {*first.batch["id"]}
    assert len(second.batch) == 40
    assert {*first.batch.query("split == 'test'")["id"]} <= {*second.base.query("split == 'test'")["id"]}


def test_rows_without_text_or_label_and_rows_told_twice_are_skipped():
    new = fresh(20)
    new.loc[0, "text"], new.loc[1, "label"], new.loc[2, "label"] = "  ", "", None
    corrected = new.loc[[5]].assign(label="fraud")
    result = grow(known(), pd.concat([new, corrected], ignore_index=True))
    assert (len(result.batch), result.report["skipped"]) == (17, 4)
    assert result.batch.set_index("id").loc["new0005", "label"] == "fraud"


def test_a_row_that_says_what_was_said_before_is_skipped():
    new = fresh(20)
    new.loc[3, ["text", "label"]] = new.loc[2, ["text", "label"]]
    new.loc[4, ["text", "label"]] = [f" {known().loc[7, 'text']} ", known().loc[7, "label"]]
    new.loc[5, "text"] = new.loc[2, "text"]
    new.loc[5, "label"] = "fraud" if new.loc[2, "label"] != "fraud" else "card"  # contradicted, not repeated
    result = grow(known(), new)
    assert {*new["id"]} - {*result.batch["id"]} == {"new0003", "new0004"}


def test_of_old_training_rows_the_same_ones_are_rehearsed_each_time():
    once, again = (grow(known(), fresh(rows), rehearsal_rows=20) for rows in (30, 60))
    assert once.report["kept"] == {"train": 20, "validation": 10, "calibration": 10, "test": 20}
    assert once.report["left_out"] == 40
    assert once.base["id"].tolist() == again.base["id"].tolist()
    other = grow(known(), fresh(30), rehearsal_rows=20, seed=3)
    assert other.base["id"].tolist() != once.base["id"].tolist()


def test_a_label_that_nobody_could_have_learned_is_held_back():
    new = fresh(100)
    new.loc[98:, "label"] = "mortgages"  # the newest two: they would be test, and train has none
    result = grow(known(), new)
    assert (result.report["held_back"], result.report["held_back_labels"]) == (2, ["mortgages"])
    assert "mortgages" not in {*result.batch["label"]}


def test_a_new_label_comes_in_once_it_has_rows_enough_and_some_of_them_are_for_training():
    new = fresh(100)
    new.loc[::10, "label"] = "mortgages"
    assert (grow(known(), new).batch["label"] == "mortgages").sum() == 10
    assert grow(known(), new, min_label_rows=11).report["held_back"] == 10


def test_without_a_new_row_nothing_is_new():
    result = grow(known(), fresh(0))
    assert (len(result.batch), result.since, len(result.base)) == (0, None, 100)


def test_without_dates_rows_are_dealt_by_their_ids_and_none_is_new_by_date():
    result = grow(known().drop(columns="timestamp"), fresh().drop(columns="timestamp"))
    assert result.since is None
    assert result.report["new"]["test"] == 30


def test_a_champion_without_dates_takes_new_rows_with_dates():
    result = grow(known().drop(columns="timestamp"), fresh())
    assert result.since == result.batch.loc[result.batch["split"] == "test", "timestamp"].min()


def test_the_rows_of_a_version_have_the_splits_that_it_gave_them():
    raw = examples(10)
    splits = {name: raw.iloc[rows] for name, rows in zip(SPLITS, ([0, 1, 2], [3], [4], [5, 6, 7]), strict=True)}
    table = placed(raw.assign(split="as the source had it"), splits)
    assert table["split"].tolist() == ["train"] * 3 + ["validation", "calibration"] + ["test"] * 3


def test_a_laid_out_table_is_read_back_as_the_examples_that_it_was_made_of(tmp_path):
    table = (
        known(30, context_channel="chat")
        .rename(columns={"customer": "nobody"})
        .drop(columns=["nobody", "group_first_language"], errors="ignore")
    )
    table.loc[3, "group_age_band"] = "missing"
    columns = layout(COLUMNS)
    write_table(laid_out(table, columns), tmp_path / "base.parquet")
    back = to_examples(read_source(tmp_path), columns)
    pd.testing.assert_frame_equal(back, table[back.columns], check_dtype=False)


@pytest.mark.parametrize(
    ("given", "own"), [({"groups": ["id"]}, ("id_", "split")), ({"id": "number", "split": "part"}, ("number", "part"))]
)
def test_a_layout_has_an_id_and_a_split_that_no_other_column_is_named_like(given, own):
    columns = layout(COLUMNS.model_copy(update=given))
    assert (columns.id, columns.split) == own


def test_a_layout_is_its_own_layout():
    assert layout(layout(COLUMNS)) == layout(COLUMNS)
