"""Parts of the test rows that may fare worse than the whole: by group, by context, by length of the text, by month.

A slice is a mask over the rows. Knows nothing of models or metrics.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.data.records import context_columns, group_columns, group_name

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Slice:
    """The rows whose `by` (a group's or context's column, "length" or "month") is `name`."""

    by: str
    name: str
    mask: Mask

    @property
    def rows(self) -> int:
        """Number of rows in the slice."""
        return int(self.mask.sum())


def slices_of(table: pd.DataFrame, *, length_bins: Sequence[int]) -> list[Slice]:
    """Return every slice of a table of examples: of each group and context column, of length, and of month where rows have a time."""
    found = [part for column in (*group_columns(table), *context_columns(table)) for part in partition(group_name(column), table[column])]
    found += by_length(table["text"], edges=length_bins)
    return found + (by_month(table["timestamp"]) if "timestamp" in table.columns else [])


def partition(by: str, values: "pd.Series[str]") -> list[Slice]:
    """Return one slice for each distinct value, in sorted order."""
    return [Slice(by, str(value), (values == value).to_numpy(bool)) for value in sorted(values.unique())]


def by_length(texts: "pd.Series[str]", *, edges: Sequence[int]) -> list[Slice]:
    """Return slices by number of words (runs of characters between white space).

    A slice starts at its edge and ends before the next; the first takes all that is shorter, the last all that is longer.
    """
    words_N = np.array([len(text.split()) for text in texts], np.int64)
    inner = list(edges[1:-1])
    place_N = np.searchsorted(inner, words_N, side="right")
    return [Slice("length", _length_name(edges, place), place_N == place) for place in range(len(inner) + 1)]


def by_month(times: "pd.Series[pd.Timestamp]") -> list[Slice]:
    """Return slices by calendar month, named `2025-03`; rows without a time stand under `undated`."""
    return partition("month", times.dt.strftime("%Y-%m").fillna("undated"))


def _length_name(edges: Sequence[int], place: int) -> str:
    first, last = place == 0, place == len(edges) - 2
    if first and last:
        return "all lengths"
    if first:
        return f"under {edges[1]} words"
    return f"{edges[place]} words or more" if last else f"{edges[place]}-{edges[place + 1] - 1} words"
