"""How a data set grows: the champion's rows where they were, newly labelled rows behind them in the order of time.

    grown(known, new, settings=..., min_label_rows=..., alike=...) -> Grown(base, batch, since, report)
    placed(raw, splits) -> the rows of a version, each with the split it had
    laid_out(table, columns) -> the same in the layout of a source; layout(columns) -> the columns to read it by

A row never leaves its split, so that what was test stays test for ever and nothing that a model has learned from is ever asked of it.
Of the new rows the oldest are for training and the newest for test: the next model is judged on what came after all that it learned.
Old training rows beyond `rehearsal_rows` are left out, always the same ones. What repeats a test row elsewhere is taken out by the
split stage. Knows nothing of files, requests or models.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import pandas as pd

from evergreen.data.records import CONTEXT_PREFIX, GROUP_PREFIX, MISSING_GROUP
from evergreen.sections.loop import Retrain
from evergreen.sections.pipeline import SPLITS, Columns

LABELS_NAMED = 5


@dataclass(frozen=True)
class Grown:
    """A new data version: the rows kept of the one before, and the batch behind them, both with a column `split`.

    `since`: from when on test rows are new (None: no new test row, or no dates). `report`: how many rows went where, JSON-ready.
    """

    base: pd.DataFrame
    batch: pd.DataFrame
    since: pd.Timestamp | None
    report: dict[str, Any]


def placed(raw: pd.DataFrame, splits: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the raw rows that are in a split, with the column `split`; what cleaning or splitting took out stays out."""
    of_row = pd.concat([pd.Series(name, index=rows["id"]) for name, rows in splits.items()])
    kept = raw[raw["id"].isin(of_row.index)].copy()
    kept["split"] = kept["id"].map(of_row).astype("str")
    return kept.reset_index(drop=True)


def grown(
    known: pd.DataFrame, new: pd.DataFrame, *, settings: Retrain, min_label_rows: int, alike: Callable[[str], str] = str.strip
) -> Grown:
    """Return the data version that follows.

    Of `new`, rows whose id is known, without a text or without a label are skipped, and of rows with one id the last is taken. A row that
    says what an earlier one said (`alike` of its text, and its label) teaches nothing and would ask what was taught: it is skipped too.
    A row whose label no training row has would be asked of a model that cannot know it: it is held back, and comes in with a later
    retraining; a label that nobody had before needs `min_label_rows` rows.
    """
    usable = _usable(known, new, alike)
    dealt = _dealt(usable, settings)
    kept = _rehearsed(known, settings)
    batch = _learnable(kept, dealt, min_label_rows)
    tested = batch[batch["split"] == "test"]
    since = tested["timestamp"].min() if "timestamp" in batch.columns and len(tested) else None
    held = sorted({*dealt["label"]} - {*batch["label"]})
    report = {
        "known": len(known),
        "kept": _counts(kept),
        "left_out": len(known) - len(kept),
        "new": _counts(batch),
        "skipped": len(new) - len(usable),
        "held_back": len(dealt) - len(batch),
        "held_back_labels": held[:LABELS_NAMED],
        "from": _moment(batch, "min"),
        "to": _moment(batch, "max"),
        "since": None if since is None or pd.isna(since) else since.isoformat(),
    }
    return Grown(kept, batch, None if since is None or pd.isna(since) else since, report)


def layout(columns: Columns) -> Columns:
    """Return the columns by which a laid out table is read: as given, with an id and a split of its own."""
    taken = {columns.text, columns.label, columns.time, columns.customer, *columns.groups, *columns.context}
    own = {role: getattr(columns, role) or _free(role, taken) for role in ("id", "split")}
    return columns.model_copy(update=own)


def laid_out(table: pd.DataFrame, columns: Columns) -> pd.DataFrame:
    """Return a table of examples in the layout of its source, every value a text; what a row does not say is empty."""
    roles = {"id": columns.id, "text": columns.text, "label": columns.label, "timestamp": columns.time, "customer": columns.customer}
    named = {name: role for role, name in roles.items() if name is not None}
    named |= {name: GROUP_PREFIX + name for name in columns.groups}
    named |= {name: CONTEXT_PREFIX + name for name in columns.context if name not in named}
    if columns.split is not None:
        named[columns.split] = "split"
    return pd.DataFrame({name: _texts(table, role) for name, role in named.items()})


def _usable(known: pd.DataFrame, new: pd.DataFrame, alike: Callable[[str], str]) -> pd.DataFrame:
    """Return new rows that can be learned from, oldest first; without dates, in the order of their ids."""
    rows = new.drop_duplicates("id", keep="last")
    text, label = (rows[name].fillna("").astype("str").str.strip() for name in ("text", "label"))
    rows = rows[(text != "") & (label != "") & ~rows["id"].isin(known["id"])]
    order = ["timestamp", "id"] if "timestamp" in rows.columns else ["id"]
    rows = rows.sort_values(order, kind="stable")
    said = pd.concat([known[["text", "label"]], rows[["text", "label"]]]).assign(text=lambda table: table["text"].map(alike))
    return rows[~said.duplicated().to_numpy()[len(known) :]].reset_index(drop=True)


def _dealt(rows: pd.DataFrame, settings: Retrain) -> pd.DataFrame:
    """Return rows, oldest first, each with its split: train, validation, calibration and test in the order of time."""
    upper = np.cumsum([getattr(settings.fractions, name) for name in SPLITS])
    place = (np.arange(len(rows)) + 0.5) / max(len(rows), 1)
    names = np.array(SPLITS, object)[np.searchsorted(upper, place).clip(max=len(SPLITS) - 1)]
    return rows.assign(split=pd.Series(names, index=rows.index, dtype="str"))


def _rehearsed(known: pd.DataFrame, settings: Retrain) -> pd.DataFrame:
    """Return the known rows without the training rows beyond those to rehearse: the same are drawn each time, by their ids."""
    train = known["split"] == "train"
    if int(train.sum()) <= settings.rehearsal_rows:
        return known
    lot = known.loc[train, "id"].map(lambda row: sha256(f"{settings.seed} {row}".encode()).hexdigest())
    chosen = lot.sort_values(kind="stable").index[: settings.rehearsal_rows]
    return known[~train | known.index.isin(chosen)].reset_index(drop=True)


def _learnable(kept: pd.DataFrame, dealt: pd.DataFrame, min_label_rows: int) -> pd.DataFrame:
    """Return the batch without rows whose label no training row has."""
    before = {*kept.loc[kept["split"] == "train", "label"]}
    counts = dealt["label"].value_counts()
    enough = {*counts.index[counts >= min_label_rows]}
    trained = {*dealt.loc[dealt["split"] == "train", "label"]}
    return dealt[dealt["label"].isin(before | (enough & trained))].reset_index(drop=True)


def _counts(rows: pd.DataFrame) -> dict[str, int]:
    return {name: int((rows["split"] == name).sum()) for name in SPLITS}


def _moment(rows: pd.DataFrame, end: str) -> str | None:
    if "timestamp" not in rows.columns or not len(rows):
        return None
    return str(getattr(rows["timestamp"], end)().isoformat())


def _texts(table: pd.DataFrame, role: str) -> "pd.Series[str]":
    if role not in table.columns:
        return pd.Series("", index=table.index, dtype="str")
    values = table[role]
    if role == "timestamp":
        return values.map(lambda moment: moment.isoformat()).astype("str")
    texts = values.fillna("").astype("str")
    return texts.replace(MISSING_GROUP, "") if role.startswith((GROUP_PREFIX, CONTEXT_PREFIX)) else texts


def _free(name: str, taken: set[str | None]) -> str:
    while name in taken:
        name += "_"
    return name
