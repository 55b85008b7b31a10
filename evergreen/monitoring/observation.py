"""The rows of a window as drift tests and explanations see them: the columns of the reference, computed for live traffic.

Beside what the log kept (prediction, probabilities, groups, context) that is each text's descriptors and the model's embedding. The
model is asked again for the embeddings, which no log keeps; where it is not at hand they are left out. Knows nothing of the tests.
"""

from collections.abc import Collection
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from evergreen.data.records import read_table
from evergreen.drift.descriptors import describe
from evergreen.errors import MonitorError
from evergreen.model.inference import Classifier
from evergreen.reports import read_report

ROWS, SUMMARY, VOCABULARY = "reference.parquet", "reference.json", "vocabulary.txt"
TOLD = ("group_", "context_")  # beginnings of the columns that callers tell beside a text


@dataclass(frozen=True)
class Reference:
    """What a version met and answered on its test rows: `table` row by row, `summary`, the words that train knew, and a digest."""

    table: pd.DataFrame
    summary: dict[str, Any]
    vocabulary: list[str]
    digest: str

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the folder that the snapshot stage wrote; raise MonitorError where it is not whole."""
        try:
            files = sorted(path for path in folder.iterdir() if path.is_file())
            digests = "".join(f"{path.name} {sha256(path.read_bytes()).hexdigest()}\n" for path in files)
            words = (folder / VOCABULARY).read_text(encoding="utf-8").split()
            table = read_table(folder / ROWS)
        except OSError as fault:
            raise MonitorError(f"the reference in {folder} cannot be read ({fault.strerror}); run `dvc repro snapshot`") from None
        return cls(table, read_report(folder / SUMMARY), words, sha256(digests.encode()).hexdigest()[:16])

    @property
    def model_version(self) -> str:
        """The version whose reference it is."""
        return str(self.summary["model_version"])

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the model's order."""
        return tuple(self.summary["labels"])

    @property
    def told(self) -> list[str]:
        """The columns of groups and context, prefix included."""
        return [name for name in self.table.columns if name.startswith(TOLD)]

    @property
    def descriptors(self) -> list[str]:
        """The columns of descriptors."""
        return list(self.summary["descriptors"])


def observe(traffic: pd.DataFrame, vocabulary: Collection[str], model: Classifier | None) -> pd.DataFrame:
    """Return a window's rows (N) with their descriptors, and `embedding` (float32 each) where there is a model."""
    texts = traffic["text"].tolist()
    seen = pd.concat([traffic.reset_index(drop=True), describe(texts, vocabulary)], axis=1)
    if model is None:
        return seen
    return seen.assign(embedding=list(np.asarray(model.scores(texts).embeddings, np.float32)))
