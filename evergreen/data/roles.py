"""Roles: which column of a source is the text, the label, a group ...; from a source as read to the table of examples."""

from collections.abc import Iterable
from difflib import get_close_matches

import pandas as pd

from evergreen.data.records import CONTEXT_PREFIX, GROUP_PREFIX, MISSING_GROUP, content_id, context_columns, group_columns, ordered
from evergreen.data.sources import SPLIT_OF_NAME, Source
from evergreen.errors import ColumnError, SourceError
from evergreen.sections.pipeline import SPLITS, Columns
from evergreen.wording import counted

ROWS_NAMED = 5
# Tried in this order on the whole column; ISO 8601 needs no order of day and month.
DATE_FORMATS = ("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M", "%d.%m.%Y %H:%M")


def to_examples(source: Source, columns: Columns) -> pd.DataFrame:
    """Return the table of examples (see `records`): columns chosen by role, ids and timestamps made, files in their order.

    Raises ColumnError for a column that is not there (with the choices), ids that repeat, and dates that do not parse;
    SourceError where only some files of a folder tell their split by name.
    """
    wanted = {
        "text": columns.text, "label": columns.label, "id": columns.id, "timestamp": columns.time,
        "customer": columns.customer, "split": columns.split,
    }  # fmt: skip
    named = {role: name for role, name in wanted.items() if name is not None}
    named |= {GROUP_PREFIX + name: name for name in columns.groups} | {CONTEXT_PREFIX + name: name for name in columns.context}
    if columns.split is None:
        _check_split_names(source)
    _check_columns(source, named.values())
    parts = []
    for position, file in enumerate(source.files):
        part = pd.DataFrame({role: file.table[name] for role, name in named.items()})
        if source.splits and columns.split is None:
            part["split"] = source.splits[position]
        parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    for name in (*group_columns(table), *context_columns(table)):
        table[name] = table[name].str.strip().replace("", MISSING_GROUP)
    if "split" in table.columns:
        table["split"] = table["split"].map(canonical_split).astype("str")
    table["id"] = _given_ids(table["id"], columns.id) if columns.id else _derived_ids(table)
    if columns.time:
        table["timestamp"] = _timestamps(table, columns.time)
    return ordered(table)


def canonical_split(name: str) -> str:
    """Return train, validation, calibration or test for a name of such a split (`dev`, `Training`); any other name as it is."""
    return SPLIT_OF_NAME.get(name.strip().casefold(), name)


def _check_split_names(source: Source) -> None:
    """Refuse to deal anew, published test rows among them, what the names of some files say."""
    if others := source.without_split:
        shown = ", ".join(others[:ROWS_NAMED]) + (f" and {len(others) - ROWS_NAMED:,} more" if len(others) > ROWS_NAMED else "")
        raise SourceError(
            f"some files of the folder {source.path} tell their split by their name, but not {shown}. "
            f"Rename what belongs to a split ({', '.join(SPLITS)}), take other files out of the folder, "
            "or name the column that tells the split: --split COL (ingest.columns.split)"
        )


def _check_columns(source: Source, wanted: Iterable[str]) -> None:
    for name in wanted:
        without = [file for file in source.files if name not in file.table.columns]
        if not without:
            continue
        choices = list(without[0].table.columns)
        having = [f"{file.path.name} has it" for file in source.files if name in file.table.columns][:1]
        hints = "; ".join([*having, *_closest(name, choices)])
        raise ColumnError(
            f"{without[0].path} has no column {name!r}{f' ({hints})' if hints else ''}; the columns are {', '.join(map(repr, choices))}"
        )


def _closest(name: str, choices: list[str]) -> list[str]:
    """Return `did you mean 'team'?` for the closest of the choices, nothing when none is close."""
    folded = {choice.casefold(): choice for choice in choices}
    return [f"did you mean {folded[close]!r}?" for close in get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)]


def _given_ids(ids: pd.Series, name: str) -> pd.Series:
    empty = ids.index[ids.str.strip() == ""]
    if len(empty):
        raise ColumnError(
            f"{counted(len(empty), 'row')} without an id in column {name!r} (row {', '.join(str(row + 1) for row in empty[:ROWS_NAMED])}); "
            "fill them, or set ingest.columns.id to null"
        )
    double = ids[ids.duplicated(keep=False)]
    if len(double):
        shown = ", ".join(repr(value) for value in double.unique()[:ROWS_NAMED])
        raise ColumnError(
            f"column {name!r} repeats {counted(double.nunique(), 'id')} ({shown}); "
            "make them unique, or set ingest.columns.id to null: ids then come from the content"
        )
    return ids


def _derived_ids(table: pd.DataFrame) -> pd.Series:
    """Return ids from each row's content; the second of two equal rows counts on, so that the order of rows does not matter."""
    values = table[[column for column in sorted(table.columns) if column != "id"]]
    copy = values.groupby(list(values.columns), sort=False).cumcount()
    rows = zip(copy, values.itertuples(index=False, name=None), strict=True)
    return pd.Series([content_id(*parts) if number == 0 else content_id(*parts, str(number)) for number, parts in rows], dtype="str")


def _timestamps(table: pd.DataFrame, name: str) -> pd.Series:
    """Return naive UTC timestamps; a date without a zone is taken as UTC."""
    texts = table["timestamp"].str.strip()
    parsed = pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=True)
    if parsed.isna().any():
        others = [other for form in DATE_FORMATS if (other := pd.to_datetime(texts, format=form, errors="coerce", utc=True)).notna().all()]
        if len(others) > 1 and not others[0].equals(others[1]):
            raise ColumnError(
                f"the dates of column {name!r} (such as {texts.iloc[0]!r}) may be day/month or month/day; write them as YYYY-MM-DD"
            )
        parsed = others[0] if others else parsed
    bad = parsed.isna()
    if bad.any():
        shown = ", ".join(f"{row.id}: {row.timestamp!r}" for row in table.loc[bad, ["id", "timestamp"]].head(ROWS_NAMED).itertuples())
        raise ColumnError(
            f"{counted(int(bad.sum()), 'date')} of column {name!r} could not be read ({shown}); "
            "write them as YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS, or set ingest.columns.time to null"
        )
    return parsed.dt.tz_localize(None).astype("datetime64[us]")
