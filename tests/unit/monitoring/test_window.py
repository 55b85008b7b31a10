"""A window of the request log: where it begins and ends, and its rows as a table, on every database."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from evergreen.errors import MonitorError
from evergreen.monitoring.log.request_log import Window
from evergreen.monitoring.watch import window
from tests.log_factories import answered, filled, labelled

LABELS = ("access", "card")
VERSION = "56dfc9c329af"


@pytest.fixture
def engine(url: str) -> Iterator[Any]:
    """Ten answers at 0 to 9 s, those at even seconds labelled, the last two by a canary; one of another version, one in shadow."""
    rows: list[Any] = [answered(f"text {second}", time=float(second), role="canary" if second > 7 else "champion") for second in range(10)]
    told = [labelled(row.request_id, "access", time=100.0) for row in rows[::2]]
    others = [answered(time=3.5, model_version="another"), answered(time=4.5, role="shadow")]
    with filled(url, [*rows, *told, *others]) as found:
        yield found


def read(engine: Any, since: float = 0.0, until: float = 10.0, **changes: Any) -> window.Traffic:
    given = {"labels": LABELS, "columns": ["group_age_band", "context_channel"], "most": 100, "seed": 1}
    return window.read(engine, Window(since, until, VERSION), **{**given, **changes})


def test_the_rows_of_a_window_are_those_that_callers_got_from_its_version(engine: Any) -> None:
    found = read(engine, 2.0, 9.0)
    assert found.table["text"].tolist() == [f"text {second}" for second in range(2, 9)]
    assert (found.rows, found.labelled) == (7, 4)
    assert found.table["label"].isna().tolist() == [False, True, False, True, False, True, False]


def test_probabilities_stand_in_the_models_order(engine: Any) -> None:
    row = read(engine).table.iloc[0]
    assert np.allclose(row["probabilities"], [0.1, 0.9]) and row["prediction"] == "card"


def test_a_column_that_nobody_told_is_left_out(engine: Any) -> None:
    columns = read(engine).table.columns
    assert "group_age_band" in columns and "context_channel" not in columns


def test_of_many_rows_a_sample_is_looked_at_the_same_each_time(engine: Any) -> None:
    first, again, other = (read(engine, most=4, seed=seed).table["text"].tolist() for seed in (1, 1, 2))
    assert first == again != other and len(first) == 4 and first == sorted(first)
    assert read(engine, most=4).rows == 10


def test_answers_with_labels_that_the_reference_lacks_are_refused(engine: Any) -> None:
    with pytest.raises(MonitorError, match=r"labels that the reference does not know \(access\)"):
        read(engine, labels=("card",))


def test_the_newest_labelled_answers_come_oldest_first(engine: Any) -> None:
    whole = Window(None, 9.0, VERSION)
    found = window.newest_labelled(engine, whole, labels=LABELS, columns=[], most=3)
    assert found["text"].tolist() == ["text 4", "text 6", "text 8"]


def test_the_log_knows_which_version_is_live_and_since_when(engine: Any) -> None:
    assert window.live_version(engine) == (VERSION, 0.0)


def test_texts_that_are_gone_are_missing(engine: Any) -> None:
    [first] = read(engine, 0.0, 1.0).table["id"]
    assert window.texts(engine, [first, "0" * 32]) == {first: "text 0"}


@pytest.mark.parametrize(
    ("judged", "since", "until", "expected"),
    [(None, None, None, (5.0, 50.0)), (20.0, None, None, (20.0, 50.0)), (3.0, None, None, (5.0, 50.0)), (20.0, 1.0, 30.0, (1.0, 30.0))],
)
def test_a_window_follows_the_last_or_begins_where_the_version_went_live(
    judged: float | None, since: float | None, until: float | None, expected: tuple[float, float]
) -> None:
    found = window.span(live_since=5.0, judged_until=judged, number=1, now=50.0, since=since, until=until)
    assert (found.since, found.until) == expected
