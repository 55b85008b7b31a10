"""Versions that follow one another: customers return, rows are left out, texts repeat; nobody changes sides and nothing wastes away."""

import numpy as np
import pandas as pd
import pytest

from evergreen.data.growth import grown, placed, record
from evergreen.data.splitting import split_table
from evergreen.sections.pipeline import SPLITS, Split
from tests.evaluation_factories import knobs

SETTINGS = knobs().retrain
TOGETHER = knobs().split
LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyz"))
LETTER = "the very long message about a letter that never came to my house, number"


def rows(number: int, *, customers: int | None, first: str, start: str, seed: int = 0) -> pd.DataFrame:
    """Distinct texts far from one another, one an hour, of customers who come back in any order."""
    random = np.random.default_rng(seed)
    table = {
        "id": [f"{first}{row:04d}" for row in range(number)],
        "text": ["".join(random.choice(LETTERS, 24)) for _ in range(number)],
        "label": [("card", "fraud", "savings")[row % 3] for row in range(number)],
        "timestamp": pd.Timestamp(start) + pd.to_timedelta(np.arange(number), unit="h"),
        "customer": [f"c{who}" for who in random.integers(0, customers, number)] if customers else [""] * number,
    }
    return pd.DataFrame(table).astype(dict.fromkeys(("id", "text", "label", "customer"), "str"))


class Line:
    """A line of versions, each live before the next is made; `splits` are those of the newest."""

    def __init__(self, first: pd.DataFrame, split: Split = TOGETHER) -> None:
        self.raw, self.past, self.split = first, None, split
        self.splits = split_table(first, settings=split)[0]
        self.ever: dict[str, set[str]] = {}
        self._note()

    def grow(self, log: pd.DataFrame, **fields: object):
        """Make the next version of all that was ever labelled."""
        past = record(self.raw, self.splits, self.past)
        found = grown(
            placed(self.raw, self.splits), log, past, split=self.split, settings=SETTINGS.model_copy(update=fields), min_label_rows=5
        )
        self.raw, self.past = pd.concat([found.base, found.batch], ignore_index=True), found.past
        self.splits, self.report = split_table(self.raw, settings=self.split.model_copy(update={"method": "given"}))
        self._note()
        return found

    def _note(self) -> None:
        for name, part in self.splits.items():
            for row in part["id"]:
                self.ever.setdefault(row, set()).add(name)

    @property
    def train(self) -> int:
        return len(self.splits["train"])


@pytest.mark.parametrize(("customers", "rehearsal_rows"), [(300, 5000), (300, 200), (40, 5000)])
def test_over_three_rounds_no_row_changes_sides_train_does_not_shrink_and_new_rows_are_new(customers: int, rehearsal_rows: int) -> None:
    line = Line(rows(1000, customers=customers, first="a", start="2025-01-01"))
    log = pd.DataFrame()
    for number in range(3):
        before = line.train
        # a third of the customers are new in each round
        new = rows(300, customers=customers + customers // 2, first=f"n{number}", start=f"2025-0{4 + number}-01", seed=number + 1)
        log = pd.concat([log, new], ignore_index=True)
        found = line.grow(log, rehearsal_rows=rehearsal_rows)
        assert len(found.batch) == 300 == sum(found.report["new"].values())
        assert {*found.batch["id"]} == {*new["id"]}
        assert found.report["new"]["train"] >= 100 and found.report["new"]["test"] >= 45
        assert line.report["removed"] == 0
        assert line.train == min(before, rehearsal_rows) + found.report["new"]["train"]
    assert {len(names) for names in line.ever.values()} == {1}  # so what ever trained is never in test


def test_rows_that_were_left_out_are_not_new_again() -> None:
    line = Line(rows(200, customers=None, first="a", start="2025-01-01"))
    log = rows(130, customers=None, first="n", start="2025-04-01", seed=1)
    line.grow(log)
    line.grow(pd.concat([log, rows(20, customers=None, first="o", start="2025-05-01", seed=2)]), rehearsal_rows=10)
    left_out = {*log["id"]} - {*line.raw["id"]}
    assert len(left_out) > 50
    third = line.grow(pd.concat([log, log.assign(id="again-" + log["id"])]), rehearsal_rows=10)
    assert len(third.batch) == 0  # by their ids, nor as another row that says the same
    assert third.report["skipped"] == 260


def test_a_row_that_the_split_stage_took_out_is_not_new_again() -> None:
    first = rows(200, customers=None, first="a", start="2025-01-01")
    line = Line(first)
    test = line.splits["test"].iloc[0]
    train = line.splits["train"].iloc[0]["id"]
    line.raw.loc[line.raw["id"] == train, "text"] = test["text"]
    line.splits["train"] = line.splits["train"].iloc[1:]
    assert len(line.grow(first).batch) == 0


def test_a_version_that_has_no_record_yet_is_taken_for_all_that_was_dealt() -> None:
    raw = rows(100, customers=10, first="a", start="2025-01-01")
    found = record(raw, {"train": raw.iloc[:60], "test": raw.iloc[60:90]}, None)
    assert found["split"].value_counts().to_dict() == {"train": 60, "test": 30, "": 10}
    assert found["id"].tolist() == raw["id"].tolist()
    assert "c1" not in {*found["customer"]}  # who it is, nobody can read


def test_new_customers_go_as_wholes_by_their_newest_row_and_others_by_the_hour() -> None:
    line = Line(rows(300, customers=100, first="a", start="2025-01-01"))
    new = rows(100, customers=None, first="n", start="2025-04-01", seed=1)
    new.loc[[0, 99], "customer"] = "somebody new"
    batch = line.grow(new).batch.set_index("id")
    assert {*batch.loc[["n0000", "n0099"], "split"]} == {"test"}
    others = batch.drop(index="n0000").groupby("split")["timestamp"]
    assert others.max()["train"] < others.min()["validation"] < others.min()["calibration"] < others.min()["test"]
    assert batch["split"].value_counts()["test"] == 30


def test_where_customers_need_not_stay_together_all_rows_are_dealt_by_time() -> None:
    line = Line(rows(300, customers=30, first="a", start="2025-01-01"), TOGETHER.model_copy(update={"keep_together": ["near_duplicate"]}))
    batch = line.grow(rows(100, customers=30, first="n", start="2025-04-01", seed=1)).batch
    assert batch["split"].tolist() == ["train"] * 55 + ["validation"] * 7 + ["calibration"] * 8 + ["test"] * 30


def test_a_text_like_a_known_one_goes_where_that_is_and_one_that_belongs_to_two_splits_goes_to_none() -> None:
    first = rows(300, customers=100, first="a", start="2025-01-01")
    first.loc[0, ["text", "customer"]] = [f"{LETTER} 1", "writer"]
    line = Line(first)
    home = next(name for name in SPLITS if "a0000" in {*line.splits[name]["id"]})
    other = next(part for name, part in line.splits.items() if name != home)["customer"].iloc[0]
    new = rows(100, customers=None, first="n", start="2025-04-01", seed=1)
    new.loc[[98, 99], "text"] = [f"{LETTER} 2", f"{LETTER} 3"]
    new.loc[99, "customer"] = other
    found = line.grow(new)
    assert found.batch.set_index("id").loc["n0098", "split"] == home
    assert "n0099" not in {*found.batch["id"]} and found.report["set_aside"] == 1
    assert line.report["removed"] == 0
    assert len(line.grow(new).batch) == 0  # set aside for good


def test_no_old_test_row_counts_as_new_where_a_late_label_is_older() -> None:
    line = Line(rows(300, customers=100, first="a", start="2025-01-01"))
    new = rows(100, customers=None, first="n", start="2025-04-01", seed=1)
    new.loc[0, ["timestamp", "customer"]] = [pd.Timestamp("2025-01-02"), line.splits["test"]["customer"].iloc[0]]
    old = line.splits["test"]["timestamp"].max()
    found = line.grow(new)
    assert found.batch.set_index("id").loc["n0000", "split"] == "test"
    assert found.since is not None and found.since > old
    assert (found.batch["split"] == "test").sum() - 1 == (found.batch.query("split == 'test'")["timestamp"] >= found.since).sum()
