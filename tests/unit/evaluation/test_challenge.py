"""Champion against challenger: paired figures of new, old and all rows, and of slices."""

from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest

from evergreen.evaluation.challenge import Bout, Terms, compared, figures, is_new, sliced, worst_slice
from evergreen.evaluation.intervals import cluster_codes
from evergreen.evaluation.slices import Slice

TERMS = Terms(resamples=300, level=0.95, seed=1, margin=0.02)


def bout(*, both=0, wins=0, losses=0, neither=0, clusters=None) -> Bout:
    """Return so many rows of each kind, in this order."""
    champion = np.repeat([True, False, True, False], [both, wins, losses, neither])
    challenger = np.repeat([True, True, False, False], [both, wins, losses, neither])
    return Bout(champion, challenger, clusters)


def test_accuracies_flips_and_their_difference_are_counted_on_the_same_rows():
    found = figures(bout(both=70, wins=15, losses=5, neither=10), terms=TERMS)
    assert (found["champion"]["value"], found["challenger"]["value"]) == (0.75, 0.85)
    assert (found["difference"]["value"], found["wins"], found["losses"]) == (0.1, 15, 5)
    assert (found["negative_flips"]["value"], found["positive_flips"]["value"]) == (0.05, 0.15)
    assert 0 < found["difference"]["low"] < 0.1 < found["difference"]["high"]
    assert found["mcnemar_p"] == pytest.approx(0.041389, abs=1e-6)


def test_two_that_never_differ_are_not_known_to_be_equal_from_a_few_rows():
    few, many = (figures(bout(both=rows), terms=TERMS) for rows in (20, 400))
    assert few["difference"]["low"] < -0.02 < many["difference"]["low"]
    assert few["power"]["passes"]["tie"] < 0.1 < 0.9 < many["power"]["passes"]["tie"]


def test_rows_of_few_customers_tell_less_than_rows_that_stand_for_themselves():
    clusters = cluster_codes([f"c{row // 10}" for row in range(200)])
    alone, together = (figures(bout(both=160, wins=20, losses=20, clusters=codes), terms=TERMS) for codes in (None, clusters))
    assert together["difference"]["low"] < alone["difference"]["low"]
    assert together["power"]["passes"]["gain"] < alone["power"]["passes"]["gain"]
    assert together["power"]["rows_needed"] > alone["power"]["rows_needed"]


def test_new_and_old_rows_are_judged_apart_and_together():
    terms = dict.fromkeys(("new", "old", "all"), TERMS)
    rows = bout(both=50, wins=30, losses=20)
    new = np.arange(100) >= 50
    found = compared(rows, new, terms=terms)
    assert [found[name]["rows"] for name in ("new", "old", "all")] == [50, 50, 100]
    assert (found["new"]["wins"], found["old"]["wins"]) == (30, 0)
    assert "With 50 new rows" in found["new"]["power"]["words"]
    assert "With 50 old rows" in found["old"]["power"]["words"]


def test_where_no_row_is_new_all_are_judged_and_none_is_old():
    found = compared(bout(both=30, wins=5), np.zeros(35, bool), terms=dict.fromkeys(("new", "old", "all"), TERMS))
    assert (found["new"]["rows"], found["old"], found["all"]["rows"]) == (35, None, 35)
    assert "With 35 rows" in found["new"]["power"]["words"]


@pytest.mark.parametrize("since", [date(2025, 9, 1), datetime(2025, 9, 1), datetime(2025, 9, 1, tzinfo=UTC)])
def test_rows_are_new_from_the_moment_on(since):
    table = pd.DataFrame({"timestamp": pd.to_datetime(["2025-08-31T23:59:59", "2025-09-01", "2025-10-01", None], format="ISO8601")})
    assert is_new(table, since).tolist() == [False, True, True, False]
    assert not is_new(table, None).any()


def test_slices_too_small_are_not_judged_and_the_worst_is_the_one_surest_to_have_lost():
    rows = bout(both=60, wins=20, losses=20)
    marks = [Slice("kind", name, np.isin(np.arange(100), places)) for name, places in (
        ("better", np.r_[0:30, 60:80]), ("worse", np.r_[30:55, 80:100]), ("small", np.r_[55:60]))]  # fmt: skip
    found = sliced(rows, marks, terms=TERMS, min_rows=30)
    assert [part["outcome"] for part in found] == ["ok", "ok", "insufficient"]
    assert worst_slice(found)["slice"] == "worse"
    assert worst_slice(found[2:]) is None


def test_the_same_rows_give_the_same_report():
    assert figures(bout(both=9, wins=2, losses=1), terms=TERMS) == figures(bout(both=9, wins=2, losses=1), terms=TERMS)
