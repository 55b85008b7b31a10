"""Likeness: which rows of a table belong together, and whether a split parts them.

Rows are alike when their texts are equal, when their texts are near-duplicates, or when one customer wrote them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from evergreen.data.near_duplicates import fold, near_duplicate_pairs

Ints = NDArray[np.int64]
Names = NDArray[np.object_]
NOBODY = -1


@dataclass(frozen=True)
class Likeness:
    """What N rows share.

    `text` (N,): the number of each row's text; `near` (P, 2): pairs of numbers of near-duplicate texts;
    `customer` (N,): the number of who wrote it, -1 where nobody is named.
    """

    text: Ints
    near: Ints
    customer: Ints

    @classmethod
    def of(cls, table: pd.DataFrame, *, threshold: float) -> "Likeness":
        """Find the likeness of a table's rows; near-duplicates from this Jaccard similarity on."""
        text, distinct = pd.factorize(np.array(fold(table["text"].tolist()), object))
        customer = np.full(len(table), NOBODY, np.int64)
        if "customer" in table.columns:
            named = table["customer"].str.strip()
            customer = pd.factorize(named.where(named != ""))[0].astype(np.int64)
        return cls(text.astype(np.int64), near_duplicate_pairs(list(distinct), threshold=threshold), customer)

    @property
    def customers(self) -> int:
        """Number of customers with more than one row."""
        return int((np.bincount(self.customer[self.customer != NOBODY]) > 1).sum())

    def groups(self, keep_together: Sequence[str]) -> Ints:
        """Return the group of each row, numbered from 0 in the order of the rows: what hangs together, even through others."""
        rows = np.arange(len(self.text))
        texts = len(rows) + self.text
        edges = [np.stack([rows, texts], axis=1)]
        if "near_duplicate" in keep_together:
            edges.append(len(rows) + self.near)
        if "customer" in keep_together:
            named = rows[self.customer != NOBODY]
            edges.append(np.stack([named, texts.max(initial=0) + 1 + self.customer[named]], axis=1))
        edges_E2 = np.concatenate(edges)
        size = int(edges_E2.max(initial=-1)) + 1
        graph = coo_matrix((np.ones(len(edges_E2), np.int8), edges_E2.T), shape=(size, size))
        numbers = connected_components(graph, directed=False)[1][: len(rows)]
        return np.asarray(pd.factorize(numbers)[0], np.int64)

    def alike(self, rows: NDArray[np.bool_], keep_together: Sequence[str]) -> NDArray[np.bool_]:
        """Return which rows (N,) are directly alike to one of the given rows (N,), themselves included."""
        texts = np.zeros(int(self.text.max(initial=0)) + 1, bool)
        texts[self.text[rows]] = True
        if "near_duplicate" in keep_together:
            one, two = self.near.T
            close = texts.copy()
            close[two[texts[one]]] = True
            close[one[texts[two]]] = True
            texts = close
        found = texts[self.text]
        if "customer" in keep_together:
            found |= np.isin(self.customer, self.customer[rows & (self.customer != NOBODY)])
        return np.asarray(found, bool)

    def parted(self, names: Names) -> dict[str, list[tuple[int, int]]]:
        """Return, by kind of likeness, pairs of rows that stand in different splits; rows named "" are in none.

        One pair for each text, customer or pair of near-duplicates that is parted.
        """
        placed = pd.DataFrame({"row": np.arange(len(names)), "split": names, "text": self.text, "customer": self.customer})
        placed = placed[placed["split"] != ""]
        first = placed.drop_duplicates(["text", "split"])
        pairs = pd.DataFrame(self.near, columns=["one", "two"])
        near = pairs.merge(first, left_on="one", right_on="text").merge(first, left_on="two", right_on="text")
        near = near[near["split_x"] != near["split_y"]].drop_duplicates(["one", "two"])
        return {
            "equal_texts": _first_two(first, "text"),
            "customers": _first_two(placed[placed["customer"] != NOBODY].drop_duplicates(["customer", "split"]), "customer"),
            "near_duplicates": list(zip(near["row_x"].tolist(), near["row_y"].tolist(), strict=True)),
        }


def _first_two(rows: pd.DataFrame, by: str) -> list[tuple[int, int]]:
    """Return, for each value of a column that stands in several splits, two rows of different splits."""
    several: Any = rows[rows.duplicated(by, keep=False)].groupby(by, sort=False)["row"]
    return [(int(found.iloc[0]), int(found.iloc[1])) for _, found in several]
