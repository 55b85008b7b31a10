import pytest

from evergreen.data.cleaning import clean_table
from evergreen.errors import QualityError
from tests.data_factories import cleaning, rows


def test_the_report_counts_what_was_done() -> None:
    table = rows(["a@example.com", " spaced  out ", "spaced out", "\u200b", "Tel 07700 900118, a@example.org"], ["x", "y", "y", "x", "x"])
    cleaned, report = clean_table(table, settings=cleaning())
    assert cleaned["text"].tolist() == ["[EMAIL]", "spaced out", "Tel [PHONE], [EMAIL]"]
    assert cleaned["id"].tolist() == ["r0", "r1", "r4"]
    assert report == {
        "rows_in": 5,
        "rows_out": 3,
        "empty_dropped": 1,
        "duplicates_dropped": 1,
        "conflicts_dropped": 0,
        "texts_normalised": 2,
        "masked": {
            "email": {"texts": 2, "found": 2},
            "iban": {"texts": 0, "found": 0},
            "card": {"texts": 0, "found": 0},
            "account": {"texts": 0, "found": 0},
            "phone": {"texts": 1, "found": 1},
        },
    }


def test_nothing_is_masked_or_dropped_where_it_is_switched_off() -> None:
    table = rows(["a@example.com", "a@example.com"], ["x", "x"])
    cleaned, report = clean_table(table, settings=cleaning(mask=[], drop_duplicates=False))
    assert cleaned.equals(table)
    assert report["masked"] == {}


def test_labels_lose_outer_spaces() -> None:
    cleaned, _ = clean_table(rows(["a", "b"], ["x ", "x"]), settings=cleaning())
    assert cleaned["label"].tolist() == ["x", "x"]


CONFLICT = rows(["same", "same", "other", "other"], ["x", "y", "x", "x"])


def test_conflicting_labels_are_dropped_altogether() -> None:
    cleaned, report = clean_table(CONFLICT, settings=cleaning(on_conflict="drop"))
    assert cleaned["id"].tolist() == ["r2"]
    assert (report["conflicts_dropped"], report["duplicates_dropped"]) == (2, 1)


def test_conflicting_labels_are_kept_where_asked() -> None:
    cleaned, report = clean_table(CONFLICT, settings=cleaning(on_conflict="keep"))
    assert cleaned["id"].tolist() == ["r0", "r1", "r2"]
    assert report["conflicts_dropped"] == 0


def test_conflicting_labels_fail_and_are_named_where_asked() -> None:
    with pytest.raises(
        QualityError, match=r"2 rows have a text that also stands under another label:\n  r0 \[x\] 'same'\n  r1 \[y\] 'same'"
    ):
        clean_table(CONFLICT, settings=cleaning(on_conflict="fail"))


def test_a_refused_conflict_shows_no_personal_data_even_where_nothing_is_masked() -> None:
    with pytest.raises(QualityError) as fault:
        clean_table(rows(["write to jo@example.org"] * 2, ["x", "y"]), settings=cleaning(on_conflict="fail", mask=[]))
    assert "r0 [x] 'write to [EMAIL]'" in str(fault.value)


def test_a_given_test_split_stays_whole() -> None:
    table = rows(["a", "a", "a", "b", "b", "c"], ["x", "x", "x", "x", "y", "y"], split=["test", "test", "train", "test", "train", "train"])
    cleaned, report = clean_table(table, settings=cleaning())
    assert cleaned.loc[cleaned["split"] == "test", "id"].tolist() == ["r0", "r1", "r3"]
    assert cleaned.loc[cleaned["split"] == "train", "id"].tolist() == ["r2", "r4", "r5"]
    assert report["rows_out"] == 6
