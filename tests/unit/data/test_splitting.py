import numpy as np
import pandas as pd
import pytest

from evergreen.data.likeness import Likeness
from evergreen.data.splitting import check_leakage, split_table
from evergreen.errors import SplitError
from evergreen.sections.pipeline import SPLITS
from tests.data_factories import rows, splitting
from tests.factories import examples

NEAR = "the very long message about a letter that never came to my house, number"


def plain(number: int, labels: str = "xy") -> pd.DataFrame:
    """Distinct texts far from one another, labels in turn."""
    random = np.random.default_rng(1)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    return rows(["".join(random.choice(letters, 20)) for _ in range(number)], [labels[row % len(labels)] for row in range(number)])


def where(table: pd.DataFrame, **changes: object) -> dict[str, str]:
    """The split of each id."""
    splits, _ = split_table(table, settings=splitting(**changes))
    return {row: name for name, part in splits.items() for row in part["id"]}


def test_every_row_is_in_one_split_and_the_report_counts_them() -> None:
    table = examples(400)
    splits, report = split_table(table, settings=splitting())
    assert sorted(pd.concat(splits.values())["id"]) == sorted(table["id"])
    assert list(splits) == list(SPLITS)
    assert {name: part["rows"] for name, part in report["splits"].items()} == {name: len(part) for name, part in splits.items()}
    assert report["splits"]["test"]["labels"] == splits["test"]["label"].value_counts().sort_index().to_dict()
    assert report["splits"]["train"]["from"] == str(splits["train"]["timestamp"].min().date())
    assert report["leakage"] == {"equal_texts": 0, "customers": 0, "near_duplicates": 0}
    assert report["removed"] == 0


def test_customers_equal_texts_and_near_duplicates_stay_on_one_side() -> None:
    table = plain(300).assign(customer=[f"c{row // 3}" for row in range(300)])
    table.loc[:59, "text"] = [f"{NEAR} {row % 20:02d}" for row in range(60)]
    table.loc[60:69, "text"] = "Same  text"
    table.loc[65:69, "text"] = "same TEXT"
    found = where(table.astype({"customer": "str"}))
    assert len({found[f"r{row}"] for row in range(60)}) == 1
    assert len({found[f"r{row}"] for row in range(60, 70)}) == 1
    assert all(len({found[f"r{3 * customer + row}"] for row in range(3)}) == 1 for customer in range(100))


def test_rows_of_nobody_are_not_one_customer() -> None:
    table = plain(200).assign(customer="").astype({"customer": "str"})
    assert set(where(table).values()) == set(SPLITS)


def test_where_nothing_is_kept_together_equal_texts_still_are() -> None:
    table = plain(200)
    table.loc[::2, "text"] = [f"copy {row % 10}" for row in range(100)]
    splits, report = split_table(table, settings=splitting(keep_together=[]))
    assert report["leakage"]["equal_texts"] == 0
    assert sum(len(part) for part in splits.values()) == 200


def test_the_order_of_rows_does_not_matter() -> None:
    table = examples(300)
    assert where(table) == where(table.sample(frac=1, random_state=3))


def test_another_seed_gives_another_split() -> None:
    assert where(examples(300), seed=1) != where(examples(300), seed=2)


def test_a_label_with_too_few_rows_is_refused_with_its_counts_and_the_choices() -> None:
    table = pd.concat([plain(100), rows(["odd one", "odder one"], ["z", "z"]).assign(id=["z1", "z2"]).astype("str")])
    with pytest.raises(
        SplitError, match=r"1 label with too few rows that stand apart to be in every split: z \(train .*Add rows, merge or drop"
    ):
        split_table(table, settings=splitting())


def test_a_group_that_no_split_can_hold_is_refused() -> None:
    table = plain(100).assign(customer=["big"] * 80 + [f"c{row}" for row in range(20)]).astype({"customer": "str"})
    with pytest.raises(SplitError, match=r"80 of 100 rows belong together .* raise split\.near_duplicate, or shorten split\.keep_together"):
        split_table(table, settings=splitting())


def dated(number: int) -> pd.DataFrame:
    return plain(number).assign(timestamp=pd.Timestamp("2025-01-01") + pd.to_timedelta(np.arange(number), unit="D"))


def test_by_time_the_newest_rows_are_the_test() -> None:
    splits, report = split_table(dated(200), settings=splitting(method="time"))
    assert [len(splits[name]) for name in SPLITS] == [124, 14, 12, 50]
    order = [report["splits"][name][end] for name in SPLITS for end in ("from", "to")]
    assert order == sorted(order)


def test_by_time_a_group_goes_with_its_newest_row_so_nothing_newer_is_in_train() -> None:
    table = dated(200).assign(customer=[f"c{row}" for row in range(200)])
    table.loc[0, "customer"] = "c199"
    splits, _ = split_table(table.astype({"customer": "str"}), settings=splitting(method="time"))
    assert {"r0", "r199"} <= set(splits["test"]["id"])
    assert splits["train"]["timestamp"].max() < splits["test"]["timestamp"].drop(splits["test"].index[splits["test"]["id"] == "r0"]).min()


def test_by_time_a_label_that_is_new_in_test_is_refused() -> None:
    table = dated(200)
    table.loc[199, "label"] = "new"
    with pytest.raises(SplitError, match=r"to be in train: new \(train 0, validation 0, calibration 0, test 1\).*or split.method"):
        split_table(table, settings=splitting(method="time"))


def test_by_time_needs_dates() -> None:
    with pytest.raises(SplitError, match=r"split\.method is time, but the data has no dates"):
        split_table(plain(100), settings=splitting(method="time"))


def given(train: int, test: int, **more: int) -> pd.DataFrame:
    names = [name for name, number in {"train": train, "test": test, **more}.items() for _ in range(number)]
    return plain(len(names)).assign(split=names).astype({"split": "str"})


def test_given_splits_are_taken_and_missing_ones_carved_out_of_train() -> None:
    table = given(300, 60)
    splits, report = split_table(table, settings=splitting(method="given"))
    assert splits["test"]["id"].tolist() == sorted(table.loc[table["split"] == "test", "id"])
    assert [len(splits[name]) for name in SPLITS] == [248, 28, 24, 60]
    assert report["removed"] == 0
    assert "split" not in splits["train"].columns


def test_given_splits_that_are_all_there_stay_as_they_are() -> None:
    table = given(60, 20, validation=10, calibration=10)
    found = where(table, method="given")
    assert found == dict(zip(table["id"], table["split"], strict=True))


def test_train_rows_that_repeat_test_rows_are_removed_and_test_is_not_touched() -> None:
    table = given(300, 60)
    texts = {
        "r5": "Copied text",
        "r6": "copied  TEXT",
        "r7": f"{NEAR} 1",
        "r8": f"{NEAR} 1",
        "r310": "copied text",
        "r311": f"{NEAR} 2",
        "r312": "copied text",
    }
    table["text"] = [texts.get(row, text) for row, text in zip(table["id"], table["text"], strict=True)]
    splits, report = split_table(table, settings=splitting(method="given"))
    assert report["removed"] == 4
    assert len(splits["test"]) == 60
    assert not {"r5", "r6", "r7", "r8"} & {row for part in splits.values() for row in part["id"]}
    assert report["leakage"] == {"equal_texts": 0, "customers": 0, "near_duplicates": 0}


def test_an_unknown_split_name_is_refused_with_the_choices() -> None:
    with pytest.raises(
        SplitError, match=r"the split column holds 'later' \(30 rows\); the choices are train, validation, calibration, test"
    ):
        split_table(given(100, 20, later=30), settings=splitting(method="given"))


def test_a_label_that_only_a_given_test_split_has_is_refused() -> None:
    table = given(100, 20, validation=10, calibration=10)
    table.loc[table["split"] == "test", "label"] = "z"
    with pytest.raises(SplitError, match=r"1 label with too few rows that stand apart to be in train: z \(train 0, .*test 20\)"):
        split_table(table, settings=splitting(method="given"))


def test_given_needs_a_split_column_and_train_rows() -> None:
    with pytest.raises(SplitError, match=r"split\.method is given, but the data has no splits"):
        split_table(plain(50), settings=splitting(method="given"))
    with pytest.raises(SplitError, match="have no train rows"):
        split_table(given(0, 50), settings=splitting(method="given"))


@pytest.mark.parametrize(
    ("kind", "change"),
    [("equal text", {"text": "same"}), ("near-duplicate pair", {"text": [f"{NEAR} 1", f"{NEAR} 2"]}), ("customer", {"customer": "c"})],
)
def test_a_leak_fails_and_names_the_rows(kind: str, change: dict) -> None:
    table = plain(4).assign(customer=["a", "b", "d", "e"]).astype({"customer": "str"})
    for column, value in change.items():
        table.loc[1:2, column] = value
    names = np.array(["train", "train", "test", "test"], object)
    parted = Likeness.of(table, threshold=0.85).parted(names)
    with pytest.raises(SplitError, match=rf"the splits leak: 1 {kind} in two splits: r1 \(train\) and r2 \(test\)"):
        check_leakage(table, names, parted, keep_together=["customer", "near_duplicate"])


def test_a_row_that_is_removed_leaks_nowhere() -> None:
    likeness = Likeness.of(rows(["same", "same", "same"], ["x"] * 3), threshold=0.85)
    assert likeness.parted(np.array(["", "test", "test"], object))["equal_texts"] == []
    assert likeness.parted(np.array(["train", "", "test"], object))["equal_texts"] == [(0, 2)]


def test_given_splits_whose_train_rows_all_belong_to_test_are_refused() -> None:
    table = given(30, 30).assign(customer=[f"c{row % 5}" for row in range(60)]).astype({"customer": "str"})
    with pytest.raises(SplitError, match="every train row of the source belongs to a row of another split"):
        split_table(table, settings=splitting(method="given"))
