"""Cleaning of a table of examples: texts normalised and masked, empty rows, duplicates and conflicting labels out.

The texts themselves are cleaned by `text.clean_text`, which the service uses too.
"""

from collections import Counter
from typing import Any

import pandas as pd

from evergreen.data.personal_data import KINDS
from evergreen.data.text import beginning, clean_text, normalise
from evergreen.errors import QualityError
from evergreen.sections.pipeline import Clean

CONFLICTS_NAMED = 10


def clean_table(table: pd.DataFrame, *, settings: Clean) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the clean table, rows in their order, and the cleaning report (JSON-ready).

    Rows that the source put into its test split are cleaned but never dropped as duplicates or conflicts, so that a
    published test set stays whole; what repeats them in training is removed by the split stage.
    Raises QualityError where `on_conflict` is fail and a text stands under two labels.
    """
    cleaned = [clean_text(text, unicode_form=settings.unicode_form, masked=settings.mask) for text in table["text"]]
    texts = pd.Series([text for text, _ in cleaned], index=table.index, dtype="str")
    normalised = sum(normalise(text, unicode_form=settings.unicode_form) != text for text in table["text"])
    found = [counts for _, counts in cleaned]
    labels = table["label"].map(lambda label: normalise(label, unicode_form=settings.unicode_form)).astype("str")
    rows = table.assign(text=texts, label=labels)

    filled = rows[rows["text"] != ""]
    kept, conflicts = _without_conflicts(filled, settings.on_conflict)
    unique = kept[~_repeats(kept)] if settings.drop_duplicates else kept
    report = {
        "rows_in": len(table),
        "rows_out": len(unique),
        "empty_dropped": len(rows) - len(filled),
        "duplicates_dropped": len(kept) - len(unique),
        "conflicts_dropped": conflicts,
        "texts_normalised": normalised,
        "masked": _masked(found, settings),
    }
    return unique.reset_index(drop=True), report


def _masked(found: list[dict[str, int]], settings: Clean) -> dict[str, dict[str, int]]:
    texts = Counter(kind for counts in found for kind in counts)
    pieces: Counter[str] = Counter()
    for counts in found:
        pieces.update(counts)
    return {kind: {"texts": texts[kind], "found": pieces[kind]} for kind in KINDS if kind in settings.mask}


def _may_go(rows: pd.DataFrame) -> "pd.Series[bool]":
    return rows["split"] != "test" if "split" in rows.columns else pd.Series(True, index=rows.index)


def _without_conflicts(rows: pd.DataFrame, on_conflict: str) -> tuple[pd.DataFrame, int]:
    """Drop the rows whose text stands under several labels; return the rest and how many went."""
    free = rows[_may_go(rows)]
    conflict = free[free.groupby("text")["label"].transform("nunique") > 1]
    if conflict.empty or on_conflict == "keep":
        return rows, 0
    if on_conflict == "fail":
        shown = [
            f"  {row.id} [{row.label}] {beginning(str(row.text))}"
            for row in conflict.sort_values("text", kind="stable").head(CONFLICTS_NAMED).itertuples()
        ]
        raise QualityError(
            f"{len(conflict):,} rows have a text that also stands under another label:\n"
            + "\n".join(shown)
            + "\nDecide on one label for each, or set clean.on_conflict to drop or keep"
        )
    return rows.drop(index=conflict.index), len(conflict)


def _repeats(rows: pd.DataFrame) -> "pd.Series[bool]":
    """Return which rows repeat text and label of an earlier row (of the same split, where the source has splits)."""
    keys = [name for name in ("text", "label", "split") if name in rows.columns]
    return rows.duplicated(keys, keep="first") & _may_go(rows)
