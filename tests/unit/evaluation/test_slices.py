"""Slices: every row in exactly one slice of each kind, at the edges too."""

import numpy as np
import pandas as pd
import pytest

from evergreen.evaluation.slices import by_length, by_month, slices_of
from tests.factories import examples


def test_a_text_belongs_to_the_slice_that_starts_at_its_number_of_words():
    texts = pd.Series(["", "one", " ".join(["w"] * 9), " ".join(["w"] * 10), "  spaced \n out  ", " ".join(["w"] * 20), "w " * 99])
    found = {part.name: np.flatnonzero(part.mask).tolist() for part in by_length(texts, edges=[0, 10, 20, 40])}
    assert found == {"under 10 words": [0, 1, 2, 4], "10-19 words": [3], "20 words or more": [5, 6]}


def test_two_edges_are_one_slice():
    parts = by_length(pd.Series(["a", "b c"]), edges=[0, 5])
    assert [(part.name, part.rows) for part in parts] == [("all lengths", 2)]


def test_months_are_named_by_year_and_undated_rows_stand_apart():
    times = pd.Series(pd.to_datetime(["2025-03-31", "2025-04-01", None, "2024-03-02"]))
    assert {part.name: part.rows for part in by_month(times)} == {"2024-03": 1, "2025-03": 1, "2025-04": 1, "undated": 1}


@pytest.mark.parametrize("by", ["age_band", "first_language", "length", "month"])
def test_each_row_is_in_one_slice_of_each_kind(by):
    table = examples(120)
    parts = [part for part in slices_of(table, length_bins=[0, 5, 10, 100]) if part.by == by]
    np.testing.assert_array_equal(sum(part.mask.astype(int) for part in parts), np.ones(120))


def test_context_is_cut_like_groups():
    table = examples(20).assign(context_channel=["chat", "email"] * 10)
    assert [(part.name, part.rows) for part in slices_of(table, length_bins=[0, 5]) if part.by == "channel"] == [
        ("chat", 10),
        ("email", 10),
    ]


def test_a_table_without_time_and_groups_is_cut_by_length_alone():
    assert {part.by for part in slices_of(examples(20)[["id", "text", "label"]], length_bins=[0, 5, 100])} == {"length"}
