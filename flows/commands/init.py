"""`evergreen init`: look at a person's data, show what it is like, and write params.yaml for it. Nothing is written on an error."""

import argparse
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError
from rich.console import Console

from evergreen.config import load_params
from evergreen.data.profile import profile, suggest
from evergreen.data.quality import counts, examine, refusals
from evergreen.data.records import context_columns, group_columns, group_name
from evergreen.data.roles import to_examples
from evergreen.data.sources import read_source
from evergreen.errors import ColumnError, ConfigError, QualityError, SourceError
from evergreen.params_file import edit_params
from evergreen.sections.pipeline import SPLITS, Columns
from evergreen.wording import counted
from flows.bridge.pipeline import written
from flows.commands.init_page import show_changes, show_next, show_profile

PARAMS = Path("params.yaml")
# Too little data to go on; other findings can be tolerated or cleaned, so they are only shown.
STOPPING = ("rows", "missing_label", "rare_label")
PLACES_NAMED = 3
MOST_GROUPS = 100  # values of a group column


def run(arguments: argparse.Namespace) -> None:
    """Run `evergreen init` as its command line was parsed."""
    init(
        arguments.file, text=arguments.text, label=arguments.label, groups=arguments.group, time=arguments.time, row_id=arguments.id,
        customer=arguments.customer, split=arguments.split, context=arguments.context, params_path=PARAMS, console=Console(),
    )  # fmt: skip


def init(
    file: Path, *, text: str, label: str, groups: list[str], time: str | None, row_id: str | None, customer: str | None,
    split: str | None, params_path: Path, console: Console, context: Sequence[str] = (),
) -> None:  # fmt: skip
    """Profile a source, show what was found, and set params.yaml for it; every other edit of the file stays.

    Raises ConfigError, SourceError, ColumnError or QualityError, with params.yaml untouched.
    """
    params = load_params(params_path)
    try:
        columns = Columns(
            text=text, label=label, id=row_id, time=time, customer=customer, split=split, groups=groups, context=list(context)
        )  # fmt: skip
    except ValidationError as fault:
        reason = fault.errors()[0]["msg"].removeprefix("Value error, ")
        raise ConfigError(f"the columns cannot be used like this: {reason}. {params_path} is as it was") from None
    _check_place(file, params_path)
    source = read_source(file)
    table = to_examples(source, columns)
    report = examine(table, bounds=params.validate_, today=datetime.now(UTC).date())
    stopping = [check for check in refusals(report) if check["name"] in STOPPING]
    if stopping:
        faults = [f"- {check['title']}: {counted(check['rows'], 'row')}. {check['advice']}" for check in stopping]
        raise QualityError("\n".join([f"{file} cannot be used yet; {params_path} is as it was:", *faults]))
    _check_groups(table, params_path)
    _check_splits(table, file, params_path)

    found = profile(table)
    changes = _ingest_changes(file, columns) | suggest(found, params)
    if params.ingest.source != str(file):
        changes |= _document_changes(file)
    old = params.model_dump(by_alias=True)
    changes = {place: value for place, value in changes.items() if value != _at(old, place)}
    edit_params(params_path, changes)
    show_profile(console, source, found)
    show_changes(console, params_path, {place: (_at(old, place), value) for place, value in changes.items()})
    show_next(console, [f"{check['title']} ({counted(check['rows'], 'row')}). {check['advice']}" for check in refusals(report)])


def _check_place(file: Path, params_path: Path) -> None:
    """Refuse a source that the pipeline would write over, or into: DVC would refuse every later command."""
    root, place = Path(os.path.abspath(params_path)).parent, Path(os.path.abspath(file))  # as DVC compares them: links are not followed
    shared = [out for out in written(root) if place.is_relative_to(root / out) or (root / out).is_relative_to(place)]
    if shared:
        shown = ", ".join(map(str, shared[:PLACES_NAMED])) + (" ..." if len(shared) > PLACES_NAMED else "")
        raise SourceError(
            f"{file} cannot be the source: the pipeline itself writes there ({shown}). Move your data into a folder of its own, "
            f"such as inbox/, or name one file that the pipeline does not write. {params_path} is as it was"
        )


def _check_groups(table: pd.DataFrame, params_path: Path) -> None:
    for column in (*group_columns(table), *context_columns(table)):
        if (number := table[column].nunique()) > MOST_GROUPS:
            raise ColumnError(
                f"column {group_name(column)!r} has {number:,} different values, too many for groups (at most {MOST_GROUPS}); "
                f"put them into bands, or leave out --{column.replace('_', ' ', 1)}. {params_path} is as it was"
            )


def _check_splits(table: pd.DataFrame, file: Path, params_path: Path) -> None:
    """Refuse what the split stage would refuse later: unknown split names, labels that some split must do without."""
    labels = table["label"].str.strip()
    if "split" not in table.columns:
        few = labels.value_counts()[lambda rows: rows < len(SPLITS)].sort_index()
        if len(few):
            shown = "; ".join(f"{label}: {rows}" for label, rows in few.items())
            raise QualityError(
                f"{file} has labels with fewer than {len(SPLITS)} rows, one for each split ({shown}); "
                f"add rows, merge or drop these labels. {params_path} is as it was"
            )
        return
    unknown = counts(table.loc[~table["split"].isin(SPLITS), "split"])
    if unknown:
        shown = ", ".join(f"{name!r} ({counted(rows, 'row')})" for name, rows in unknown.items())
        raise ColumnError(
            f"the split column holds {shown}; the choices are {', '.join(SPLITS)}. Rename or take out these rows, "
            f"or leave out --split: the rows are then split anew. {params_path} is as it was"
        )
    lacking = sorted(set(labels) - set(labels[table["split"] == "train"]))
    if lacking:
        raise QualityError(
            f"{file}: {counted(len(lacking), 'label')} without train rows ({'; '.join(lacking[:20])}); "
            f"add rows, merge or drop these labels. {params_path} is as it was"
        )


def _ingest_changes(file: Path, columns: Columns) -> dict[str, Any]:
    return {"ingest.source": str(file), **{f"ingest.columns.{role}": name for role, name in columns.model_dump().items()}}


def _document_changes(file: Path) -> dict[str, Any]:
    """Name the model after the file; the words for another data set's model must not stand in this one's card."""
    words = file.resolve().stem if file.is_file() else file.resolve().name
    name = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:63].strip("-") or "model"
    title = re.sub(r"[\W_]+", " ", words).strip() or "Model"
    return {
        "document.name": name,
        "document.title": f"{title[:1].upper()}{title[1:]} classifier",
        "document.purpose": f"Gives each text one of the labels of {file.name}.",
        "document.limits": "Not stated yet.",
        "document.owner": "Not stated yet",
        "document.licence": "other",
    }


def _at(content: dict[str, Any], place: str) -> Any:
    for name in place.split("."):
        content = content[name]
    return content
