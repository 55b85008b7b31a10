"""Tiny inputs of the data tests: source files, tables with a flaw, the settings of a stage."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from evergreen.config import Params, load_params
from evergreen.sections.pipeline import Clean, Columns, Split, Validate

ROOT = Path(__file__).parents[1]
INBOX = ROOT / "examples" / "inbox"


def params() -> Params:
    """The project's own params.yaml."""
    return load_params(ROOT / "params.yaml")


def columns(**roles: Any) -> Columns:
    """Roles of columns: text and label unless said otherwise."""
    none = {"id": None, "time": None, "customer": None, "split": None, "groups": [], "context": []}
    return Columns(**{"text": "text", "label": "label", **none, **roles})


def bounds(**changes: Any) -> Validate:
    """The bounds of validate for a handful of rows."""
    return params().validate_.model_copy(update={"min_rows": 2, "min_rows_per_label": 2, **changes})


def cleaning(**changes: Any) -> Clean:
    return params().clean.model_copy(update=changes)


def splitting(**changes: Any) -> Split:
    return params().split.model_copy(update=changes)


def rows(texts: Sequence[str], labels: Sequence[str], **more: Sequence[Any]) -> pd.DataFrame:
    """A table of examples with these texts and labels; ids r0, r1 ... unless given."""
    table = pd.DataFrame({"id": [f"r{number}" for number in range(len(texts))], "text": list(texts), "label": list(labels), **more})
    text = [name for name in table.columns if name != "timestamp"]
    return table.astype(dict.fromkeys(text, "str"))


def good_rows(number: int = 6) -> pd.DataFrame:
    """Rows without any flaw, under two labels in turn."""
    return rows([f"message number {place}" for place in range(number)], ["card", "fees"] * (number // 2))


def write_csv(path: Path, table: Sequence[Sequence[str]], **form: Any) -> Path:
    """Write rows, the header first, as CSV."""
    with path.open("w", encoding=form.pop("encoding", "utf-8"), newline="") as file:
        csv.writer(file, **form).writerows(table)
    return path


def messages(number: int = 240, labels: Sequence[str] = ("card", "fees", "fraud")) -> list[list[str]]:
    """Rows of a plain source file, the header first: enough for every check of the default params.yaml."""
    words = ("where", "is", "my", "refund", "transfer", "letter", "statement", "branch", "limit", "hold", "code", "queue", "form")
    body = [
        [
            f"{words[row % 13]} {words[row * 7 % 11]} {words[row * 5 % 12]} {row} {words[row // 13 % 13]}",
            labels[row % len(labels)],
            f"g{row % 2}",
        ]
        for row in range(number)
    ]
    return [["text", "label", "group"], *body]


def shared(*parts: str) -> Path:
    """The path of real data outside the project; skips the test where it is absent."""
    root = Path(os.environ.get("EVERGREEN_TEST_DATA", ROOT.parent / "shared" / "data"))  # there, its developers have it
    path = root.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"real data for tests is not here: {path} (set EVERGREEN_TEST_DATA)")
    return path
