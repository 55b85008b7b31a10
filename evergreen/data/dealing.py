"""Dealing: to which split newly labelled rows go, behind rows that were dealt before.

    dealt(rows, known, past, fractions=..., split=..., alike=...) -> the rows, each with a split; "" for one that may go to none

Who was dealt before stays where they are: a customer's new rows go to the split of the old ones, and a text like a known one to its
split where nobody has signed it. The others are dealt by time, a customer's rows as one. A row that belongs to two splits goes to none,
so that no new row ever drives an old one out. Knows nothing of labels, files or models.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.data.likeness import Likeness, Names
from evergreen.data.records import content_id
from evergreen.sections.pipeline import SPLITS, Fractions, Split

NOWHERE = ""
# Where a customer or a text stands in several splits, what was ever test counts first.
FIRST = ("test", "calibration", "validation", "train")


def dealt(
    rows: pd.DataFrame, known: pd.DataFrame, past: pd.DataFrame, *, fractions: Fractions, split: Split, alike: Callable[[str], str]
) -> pd.DataFrame:
    """Return rows (N, oldest first) with the column `split`.

    `known`: the rows of the version before, with their split. `past`: the record of every row ever dealt (growth.record).
    """
    wholes = who(rows) if "customer" in split.keep_together else pd.Series("", index=rows.index, dtype="str")
    near_N4 = _near(rows, known, split, alike)
    names: Names = np.array(wholes.map(_of_customer(past)).fillna(NOWHERE), object)
    nobodys = (wholes == "").to_numpy()
    names[nobodys] = np.array([*FIRST, NOWHERE], object)[np.where(near_N4.any(axis=1), near_N4.argmax(axis=1), len(FIRST))[nobodys]]
    free = names == NOWHERE
    names[free] = _by_time(wholes[free], fractions)
    elsewhere = np.array([[name != first for first in FIRST] for name in names], bool).reshape(near_N4.shape)
    names[(near_N4 & elsewhere).any(axis=1)] = NOWHERE
    return rows.assign(split=pd.Series(names, index=rows.index, dtype="str"))


def who(rows: pd.DataFrame) -> "pd.Series[str]":
    """Return who wrote each row, as 16 hexadecimal digits; "" where nobody is named."""
    if "customer" not in rows.columns:
        return pd.Series("", index=rows.index, dtype="str")
    names = rows["customer"].fillna("").astype("str").str.strip()
    return names.map(lambda name: content_id(name) if name else "").astype("str")


def _of_customer(past: pd.DataFrame) -> dict[str, str]:
    placed = past[(past["customer"] != "") & past["split"].isin(FIRST)]
    order = placed["split"].map({name: place for place, name in enumerate(FIRST)})
    return dict(
        placed.assign(order=order).sort_values("order", kind="stable").drop_duplicates("customer")[["customer", "split"]].to_numpy()
    )


def _near(rows: pd.DataFrame, known: pd.DataFrame, split: Split, alike: Callable[[str], str]) -> NDArray[np.bool_]:
    """Return which rows are like a known row of each split, in the order of FIRST; equal texts count as alike in any case."""
    texts = pd.concat([known["text"], rows["text"]], ignore_index=True).map(alike)
    likeness = Likeness.of(pd.DataFrame({"text": texts}), threshold=split.near_duplicate)
    names = np.concatenate([known["split"].to_numpy(object), np.full(len(rows), NOWHERE, object)])
    texts_only = [kind for kind in split.keep_together if kind != "customer"]
    return np.stack([likeness.alike(names == name, texts_only)[len(known) :] for name in FIRST], axis=1)


def _by_time(wholes: "pd.Series[str]", fractions: Fractions) -> Names:
    """Return the splits of rows, oldest first: the oldest train, the newest test; who has several rows goes by the newest one."""
    place = pd.Series(np.arange(len(wholes)), index=wholes.index)
    whole = wholes.where(wholes != "", place.astype("str"))
    order = place.groupby(whole).transform("max").to_numpy().argsort(kind="stable")
    turn = pd.Series(order.argsort(kind="stable"), index=wholes.index).groupby(whole).transform("mean").to_numpy()
    upper = np.cumsum([getattr(fractions, name) for name in SPLITS])
    names: Names = np.array(SPLITS, object)[np.searchsorted(upper, (turn + 0.5) / max(len(wholes), 1)).clip(max=len(SPLITS) - 1)]
    return names
