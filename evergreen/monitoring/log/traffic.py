"""A window of the request log as a table of examples (evergreen/data/records.py), for training and for measuring drift.

Columns: `id` (the request's), `text` (masked), `label` (told later; null where none was), `timestamp` (UTC-naive),
`group_<name>`, `prediction`, `confidence`, `probabilities` (in the model's order of labels), `answered` (not left to a person),
`model_version`. The labels of each version, in that order, stand in the file's metadata. Rows go from the database to the file in
pieces, so that a window may be larger than memory. Needs pandas' friends; the service never imports this.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow.parquet import ParquetWriter
from sqlalchemy import Connection, Engine, Text, cast

from evergreen.data.records import CONTEXT_PREFIX, GROUP_PREFIX, MISSING_GROUP
from evergreen.errors import LogError
from evergreen.monitoring.log.request_log import Window, answers, read, selected
from evergreen.sections.pipeline import Columns

PIECE = 5000  # rows of a row group
MOST_GROUPS = 50
LABELS_KEY = b"evergreen.labels"


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    rows: int
    labelled: int
    first: float | None  # seconds since 1970
    last: float | None
    labels: dict[str, list[str]]  # of each version, in the order of its probabilities


def export(engine: Engine, window: Window, path: Path, *, groups: Sequence[str] | None = None) -> Exported:
    """Write a window as Parquet, all of it or nothing; without a row nothing is written. `groups`: None for all there are."""
    if "shadow" in window.roles and len(window.roles) > 1:
        raise LogError("shadow answers share their ids with those that callers got; export them by themselves")
    rows, labelled, first, last = 0, 0, None, None
    with engine.connect() as connection:
        labels = _labels(connection, window)
        if not labels:
            return Exported(0, 0, None, None, {})
        names = list(groups) if groups is not None else _group_names(connection, window)
        found = read(connection, window)
        with _all_or_nothing(path) as staged, ParquetWriter(staged, _schema(names, labels), compression="zstd") as writer:
            while piece := list(islice(found, PIECE)):
                writer.write_table(_table(piece, names, writer.schema))
                rows, labelled = rows + len(piece), labelled + sum(row.label is not None for row in piece)
                first, last = piece[0].time if first is None else first, piece[-1].time
    return Exported(rows, labelled, first, last, labels)


def labelled(engine: Engine, columns: Columns) -> pd.DataFrame:
    """Return every answered text whose label was told as a table of examples (`records`), oldest first.

    What callers say of a text fills the project's own group, context and customer columns, by the names that the source has for them.
    """
    with engine.connect() as connection:
        rows = list(read(connection, Window(labelled=True)))
    said = {GROUP_PREFIX + name: name for name in columns.groups} | {CONTEXT_PREFIX + name: name for name in columns.context}
    table = pd.DataFrame(
        {
            "id": pd.Series([row.request_id for row in rows], dtype="str"),
            "text": pd.Series([row.text for row in rows], dtype="str"),
            "label": pd.Series([row.label for row in rows], dtype="str"),
            "timestamp": pd.Series(np.array([round(row.time * 1e6) for row in rows], "datetime64[us]")),
            **{role: pd.Series([row.groups.get(name, MISSING_GROUP) for row in rows], dtype="str") for role, name in said.items()},
        }
    )
    if columns.customer is not None:
        table["customer"] = pd.Series([row.groups.get(columns.customer, "") for row in rows], dtype="str")
    return table


def _labels(connection: Connection, window: Window) -> dict[str, list[str]]:
    """Return each version's labels, in the order of its probabilities."""
    versions = connection.execute(selected(window, answers.c.model_version).distinct()).scalars().all()
    labels = {}
    for version in sorted(versions):
        one = selected(window, answers.c.probabilities).where(answers.c.model_version == version).limit(1)
        labels[version] = list(connection.execute(one).scalar_one())
    return labels


def _group_names(connection: Connection, window: Window) -> list[str]:
    names: set[str] = set()
    for content in connection.execute(selected(window, cast(answers.c.groups, Text)).distinct()).scalars():
        names |= json.loads(content).keys()
        if len(names) > MOST_GROUPS:
            raise LogError(f"callers named more than {MOST_GROUPS} groups in this window; name those to export with --group")
    return sorted(names)


def _schema(groups: Sequence[str], labels: dict[str, list[str]]) -> Any:
    fields = [("id", pa.string()), ("text", pa.string()), ("label", pa.string()), ("timestamp", pa.timestamp("us"))]
    fields += [(GROUP_PREFIX + name, pa.string()) for name in groups]
    fields += [("prediction", pa.string()), ("confidence", pa.float64()), ("probabilities", pa.list_(pa.float64()))]
    fields += [("answered", pa.bool_()), ("model_version", pa.string())]
    return pa.schema(fields, metadata={LABELS_KEY: json.dumps(labels).encode()})


def _table(rows: Sequence[Any], groups: Sequence[str], schema: Any) -> Any:
    columns = {
        "id": [row.request_id for row in rows],
        "text": [row.text for row in rows],
        "label": [row.label for row in rows],
        "timestamp": pa.array([round(row.time * 1e6) for row in rows], pa.int64()).cast(pa.timestamp("us")),
        **{GROUP_PREFIX + name: [row.groups.get(name, MISSING_GROUP) for row in rows] for name in groups},
        "prediction": [row.prediction for row in rows],
        "confidence": [row.confidence for row in rows],
        "probabilities": [list(row.probabilities.values()) for row in rows],
        "answered": [not row.needs_person for row in rows],
        "model_version": [row.model_version for row in rows],
    }
    return pa.table(columns, schema=schema)


@contextmanager
def _all_or_nothing(path: Path) -> Iterator[Path]:
    """Give a place beside the target, which takes the target's name when all is written and on the disk."""
    staged = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))  # texts are for their owner
        yield staged
        with staged.open("rb") as file:
            os.fsync(file.fileno())
        staged.replace(path)
    except OSError as fault:
        raise LogError(f"{path} cannot be written: {fault.strerror or fault}") from None
    finally:
        with suppress(OSError):
            staged.unlink(missing_ok=True)
