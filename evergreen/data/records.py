"""The table of examples: which columns travel through the pipeline, and how they are read and written.

Columns: `id` (str, unique, stable), `text` (str), `label` (str); where the source has them also `timestamp`
(datetime64, UTC-naive), `customer` (str), `split` (str), one column per group, named `group_<name>`, and one for each way
in which texts come, named `context_<name>` (both str, missing values as "missing"): groups are audited and watched, context
is watched alone. Knows nothing of where the table came from.
"""

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

import pandas as pd

GROUP_PREFIX = "group_"
CONTEXT_PREFIX = "context_"
REQUIRED = ("id", "text", "label")
OPTIONAL = ("timestamp", "customer", "split")
MISSING_GROUP = "missing"


def group_columns(table: pd.DataFrame) -> list[str]:
    """Return the table's group columns, in their order, prefix included."""
    return [name for name in table.columns if name.startswith(GROUP_PREFIX)]


def context_columns(table: pd.DataFrame) -> list[str]:
    """Return the table's context columns, in their order, prefix included."""
    return [name for name in table.columns if name.startswith(CONTEXT_PREFIX)]


def group_name(column: str) -> str:
    """Return what a person calls a group or context column: `group_age_band` -> `age_band`, `context_channel` -> `channel`."""
    return column.removeprefix(GROUP_PREFIX).removeprefix(CONTEXT_PREFIX)


def content_id(*parts: str) -> str:
    """Return a stable id of 16 hexadecimal digits, derived from the content alone."""
    return sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def ordered(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with its columns in the contract's order (required, optional, groups, context, anything else)."""
    known = [name for name in (*REQUIRED, *OPTIONAL) if name in table.columns]
    groups = [*group_columns(table), *context_columns(table)]
    rest = [name for name in table.columns if name not in {*known, *groups}]
    return table[[*known, *groups, *rest]].reset_index(drop=True)


def read_table(path: Path, columns: Iterable[str] | None = None) -> pd.DataFrame:
    """Read a Parquet table written by `write_table`."""
    return pd.read_parquet(path, columns=None if columns is None else list(columns))


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as Parquet; the same table gives the same bytes."""
    table.to_parquet(path, index=False, compression="zstd")
