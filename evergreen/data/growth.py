"""How a data set grows: the champion's rows where they were, newly labelled rows behind them in the order of time.

    grown(known, new, past, ...) -> Grown(base, batch, past, since, report)
    placed(raw, splits) -> the rows of a version, each with the split it had
    record(raw, splits, earlier) -> what is on record of every row ever dealt: past
    laid_out(table, columns) -> the same in the layout of a source; layout(columns) -> the columns to read it by

A row never leaves its split, so that what was test stays test for ever and nothing that a model has learned from is ever asked of it.
Nor does a customer, where customers are kept together: who comes again goes where they were, be it old training rows or test. Of the
rows of all others the oldest are for training and the newest for test: on these the next model is judged by what came after all that it
learned from others (dealing.py). Old training rows beyond `rehearsal_rows` are left out, always the same ones; they stay on record, with
all that was ever dealt, and are not new again. Knows nothing of files, requests or models.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import pandas as pd

from evergreen.data.dealing import NOWHERE, dealt, who
from evergreen.data.records import CONTEXT_PREFIX, GROUP_PREFIX, MISSING_GROUP, content_id
from evergreen.sections.loop import Retrain
from evergreen.sections.pipeline import SPLITS, Columns, Split

LABELS_NAMED = 5


@dataclass(frozen=True)
class Grown:
    """A new data version: the rows kept of the one before, and the batch behind them, both with a column `split`.

    `past`: the record of every row ever dealt, the batch included. `since`: from when on test rows are new (None: no new test row, or no
    dates). `report`: how many rows went where, JSON-ready.
    """

    base: pd.DataFrame
    batch: pd.DataFrame
    past: pd.DataFrame
    since: pd.Timestamp | None
    report: dict[str, Any]


def placed(raw: pd.DataFrame, splits: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the raw rows that are in a split, with the column `split`; what cleaning or splitting took out stays out."""
    of_row = pd.concat([pd.Series(name, index=rows["id"]) for name, rows in splits.items()])
    kept = raw[raw["id"].isin(of_row.index)].copy()
    kept["split"] = kept["id"].map(of_row).astype("str")
    return kept.reset_index(drop=True)


def record(
    raw: pd.DataFrame, splits: Mapping[str, pd.DataFrame], earlier: pd.DataFrame | None, alike: Callable[[str], str] = str.strip
) -> pd.DataFrame:
    """Return what is on record of every row ever dealt: its `id`, `split` ("" for one that is in none), `customer` and `said`.

    `raw`: all rows of a version; `earlier`: the record that came with it (None: it has none, and no row was dealt before its own).
    `customer` and `said` are digests, of who wrote it and of text and label.
    """
    of_row = pd.concat([pd.Series(name, index=rows["id"]) for name, rows in splits.items()])
    own = _recorded(raw.assign(split=raw["id"].map(of_row).fillna(NOWHERE)), alike)
    return own if earlier is None else _together(earlier, own)


def grown(
    known: pd.DataFrame,
    new: pd.DataFrame,
    past: pd.DataFrame,
    *,
    settings: Retrain,
    split: Split,
    min_label_rows: int,
    alike: Callable[[str], str] = str.strip,
) -> Grown:
    """Return the data version that follows.

    Of `new`, rows whose id is on record, without a text or without a label are skipped, and of rows with one id the last is taken. A row
    that says what an earlier one said (`alike` of its text, and its label) teaches nothing and would ask what was taught: it is skipped
    too. A row that belongs to two splits, by who wrote it and by what it says, is set aside for good. A row whose label no training row
    has would be asked of a model that cannot know it: it is held back, and comes in with a later retraining; a label that nobody had
    before needs `min_label_rows` rows.
    """
    usable = _usable(past, new, alike)
    dealing = dealt(usable, known, past, fractions=settings.fractions, split=split, alike=alike)
    aside = dealing["split"] == NOWHERE
    placeable = dealing[~aside]
    kept = _rehearsed(known, settings)
    batch = _learnable(kept, placeable, min_label_rows)
    since = _since(known, batch)
    held = sorted({*placeable["label"]} - {*batch["label"]})
    report = {
        "known": len(known),
        "kept": _counts(kept),
        "left_out": len(known) - len(kept),
        "new": _counts(batch),
        "skipped": len(new) - len(usable),
        "set_aside": int(aside.sum()),
        "held_back": len(placeable) - len(batch),
        "held_back_labels": held[:LABELS_NAMED],
        "from": _moment(batch, "min"),
        "to": _moment(batch, "max"),
        "since": None if since is None else since.isoformat(),
    }
    return Grown(kept, batch, _together(past, _recorded(pd.concat([batch, dealing[aside]]), alike)), since, report)


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


def _recorded(rows: pd.DataFrame, alike: Callable[[str], str]) -> pd.DataFrame:
    said = [content_id(alike(text), label) for text, label in zip(rows["text"], rows["label"], strict=True)]
    return pd.DataFrame({"id": rows["id"], "split": rows["split"], "customer": who(rows), "said": said}, dtype="str")


def _together(earlier: pd.DataFrame, later: pd.DataFrame) -> pd.DataFrame:
    both = pd.concat([earlier, later], ignore_index=True).drop_duplicates("id", keep="first")
    return both.sort_values("id", kind="stable", ignore_index=True)


def _usable(past: pd.DataFrame, new: pd.DataFrame, alike: Callable[[str], str]) -> pd.DataFrame:
    """Return new rows that can be learned from, oldest first; without dates, in the order of their ids."""
    rows = new.drop_duplicates("id", keep="last")
    text, label = (rows[name].fillna("").astype("str").str.strip() for name in ("text", "label"))
    rows = rows[(text != "") & (label != "") & ~rows["id"].isin(past["id"])]
    order = ["timestamp", "id"] if "timestamp" in rows.columns else ["id"]
    rows = rows.sort_values(order, kind="stable", ignore_index=True)
    said = _recorded(rows.assign(split=NOWHERE), alike)["said"]
    return rows[~said.isin(past["said"]) & ~said.duplicated()].reset_index(drop=True)


def _since(known: pd.DataFrame, batch: pd.DataFrame) -> pd.Timestamp | None:
    """Return from when on test rows are new: the first of the batch that is newer than every old one, so that no old one counts."""
    if "timestamp" not in batch.columns:
        return None
    times = batch.loc[batch["split"] == "test", "timestamp"].dropna()
    # a champion whose settings named no time column has rows without one
    old = known.loc[known["split"] == "test", "timestamp"].dropna() if "timestamp" in known.columns else times[:0]
    newer = times[times > old.max()] if len(old) else times
    first = (newer if len(newer) else times).min()
    return None if pd.isna(first) else first


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
