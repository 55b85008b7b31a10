"""Splitting: every row to train, validation, calibration or test; what belongs together stays together, and that is checked.

Rows belong together when their texts are equal, and where asked when they are near-duplicates or come from one customer.
Knows nothing of files. The result does not depend on the order of the rows.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.data.likeness import Likeness, Names
from evergreen.data.stratification import deal
from evergreen.errors import SplitError
from evergreen.sections.pipeline import SPLITS, Split
from evergreen.wording import counted

Ints = NDArray[np.int64]
ROWS_NAMED = 5
REMOVED = ""
# Where splits that the source gives share a text, the row of the later one goes.
KEPT_FIRST = ("test", "calibration", "validation", "train")
NOUN_OF_KIND = {"equal_texts": "equal text", "customers": "customer", "near_duplicates": "near-duplicate pair"}
ROLE_OF_KIND = {"equal_texts": None, "customers": "customer", "near_duplicates": "near_duplicate"}


def split_table(table: pd.DataFrame, *, settings: Split) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    """Return the four tables, rows in the order of their ids, and the split report (JSON-ready).

    Raises SplitError when the data cannot be split as asked, and when the outcome leaks.
    """
    table = table.sort_values("id", kind="stable", ignore_index=True)
    likeness = Likeness.of(table, threshold=settings.near_duplicate)
    names = assign(table, likeness, settings=settings)
    _check_labels(table, names, settings.method)
    parted = likeness.parted(names)
    check_leakage(table, names, parted, keep_together=settings.keep_together)
    splits = {name: table[names == name].drop(columns="split", errors="ignore").reset_index(drop=True) for name in SPLITS}
    report = {
        "method": settings.method,
        "seed": settings.seed,
        "splits": {name: _describe(rows) for name, rows in splits.items()},
        "kept_together": {"customers": likeness.customers, "near_duplicates": len(likeness.near)},
        "removed": int((names == REMOVED).sum()),
        "leakage": {kind: len(pairs) for kind, pairs in parted.items()},
    }
    return splits, report


def assign(table: pd.DataFrame, likeness: Likeness, *, settings: Split) -> Names:
    """Return the split of each row (N,), "" for a row that is removed; the table is sorted by id."""
    groups = likeness.groups(settings.keep_together)
    if settings.method == "stratified":
        return _stratified(table, groups, settings, SPLITS)
    if settings.method == "time":
        return _by_time(table, groups, settings)
    return _given(table, likeness, groups, settings)


def check_leakage(table: pd.DataFrame, names: Names, parted: dict[str, list[tuple[int, int]]], *, keep_together: Sequence[str]) -> None:
    """Raise SplitError, naming rows, when what had to stay together stands in two splits."""
    for kind, pairs in parted.items():
        role = ROLE_OF_KIND[kind]
        if pairs and (role is None or role in keep_together):
            shown = "; ".join(" and ".join(f"{table['id'].iloc[row]} ({names[row]})" for row in pair) for pair in pairs[:ROWS_NAMED])
            raise SplitError(f"the splits leak: {counted(len(pairs), NOUN_OF_KIND[kind])} in two splits: {shown}")


def _stratified(table: pd.DataFrame, groups: Ints, settings: Split, wanted: tuple[str, ...]) -> Names:
    """Deal rows to the wanted splits in proportion to their fractions."""
    fractions = np.array([getattr(settings.fractions, name) for name in wanted])
    shares = fractions / fractions.sum()
    _check_groups(groups, float(shares.max()))
    labels = np.unique(table["label"].to_numpy(str), return_inverse=True)[1]
    dealt = deal(labels.astype(np.int64), pd.factorize(groups)[0].astype(np.int64), shares=shares, seed=settings.seed)
    names: Names = np.array(wanted, object)[dealt]
    return names


def _by_time(table: pd.DataFrame, groups: Ints, settings: Split) -> Names:
    """Put the newest rows into test, the next into calibration and validation, the oldest into train.

    A group goes where its newest row belongs: test then also holds some older rows, but nothing newer is ever in train.
    """
    if "timestamp" not in table.columns:
        raise SplitError("split.method is time, but the data has no dates; set ingest.columns.time, or split.method to stratified")
    _check_groups(groups, settings.fractions.train)
    newest = table["timestamp"].groupby(groups).transform("max")
    order = pd.DataFrame({"newest": newest, "group": pd.factorize(groups)[0]}).sort_values(["newest", "group"], kind="stable").index
    upper = np.cumsum([getattr(settings.fractions, name) for name in SPLITS])
    sizes = table.groupby(groups)["id"].transform("size").to_numpy()
    # Where a group straddles a border, the place of its middle decides.
    first = pd.Series(np.arange(len(table)), index=order).groupby(groups[order]).transform("min").sort_index().to_numpy()
    place = (first + (sizes - 1) / 2 + 0.5) / len(table)
    names: Names = np.array(SPLITS, object)[np.searchsorted(upper, place).clip(max=len(SPLITS) - 1)]
    return names


def _given(table: pd.DataFrame, likeness: Likeness, groups: Ints, settings: Split) -> Names:
    """Take the source's splits; carve those that it lacks out of train; take rows out of train that repeat another split."""
    if "split" not in table.columns:
        raise SplitError("split.method is given, but the data has no splits; set ingest.columns.split, or split.method to stratified")
    names = table["split"].to_numpy(object).copy()
    unknown = table.loc[~table["split"].isin(SPLITS), "split"]
    if len(unknown):
        shown = ", ".join(f"{name!r} ({counted(rows, 'row')})" for name, rows in unknown.value_counts().head(ROWS_NAMED).items())
        raise SplitError(
            f"the split column holds {shown}; the choices are {', '.join(SPLITS)}. "
            "Rename or take out these rows, or set split.method to stratified"
        )
    if "train" not in names:
        raise SplitError("the splits of the source have no train rows; add them, or set split.method to stratified")
    for place, kept in enumerate(KEPT_FIRST):
        # Only direct likeness counts, not that through a third row: a chain of near-duplicates should not empty train.
        names[likeness.alike(names == kept, settings.keep_together) & np.isin(names, KEPT_FIRST[place + 1 :])] = REMOVED
    if "train" not in names:
        raise SplitError(
            "every train row of the source belongs to a row of another split (equal text, or as split.keep_together says: same customer, "
            "near-duplicate); add train rows that stand apart, or shorten split.keep_together"
        )
    missing = tuple(name for name in SPLITS if name not in names)
    if missing:
        rows = np.flatnonzero(names == "train")
        names[rows] = _stratified(table.iloc[rows], groups[rows], settings, ("train", *missing))
    return names


def _check_groups(groups: Ints, largest: float) -> None:
    biggest = int(np.bincount(groups).max())
    if biggest > largest * len(groups):
        raise SplitError(
            f"{biggest:,} of {len(groups):,} rows belong together (same customer, or a chain of near-duplicates), "
            "more than the largest split holds; raise split.near_duplicate, or shorten split.keep_together"
        )


def _check_labels(table: pd.DataFrame, names: Names, method: str) -> None:
    """Refuse a train split without a label that another split has; for a stratified split also the other way round."""
    counts = pd.crosstab(table["label"].to_numpy(object), names).reindex(columns=list(SPLITS), fill_value=0)
    counts = counts[counts.sum(axis=1) > 0]
    wanted = list(SPLITS) if method == "stratified" else ["train"]
    lacking = counts[(counts[wanted] == 0).any(axis=1)]
    if len(lacking):
        shown = "; ".join(f"{label} ({', '.join(f'{name} {rows}' for name, rows in row.items())})" for label, row in lacking.iterrows())
        where = "every split" if method == "stratified" else "train"
        raise SplitError(
            f"{counted(len(lacking), 'label')} with too few rows that stand apart to be in {where}: {shown}. "
            "Add rows, merge or drop these labels, or change split.fractions" + ("" if method == "stratified" else " or split.method")
        )


def _describe(rows: pd.DataFrame) -> dict[str, Any]:
    times = rows["timestamp"] if "timestamp" in rows.columns and len(rows) else None
    return {
        "rows": len(rows),
        "labels": {str(label): int(number) for label, number in rows["label"].value_counts().sort_index().items()},
        "from": None if times is None else times.min().date().isoformat(),
        "to": None if times is None else times.max().date().isoformat(),
    }
