"""The rows of a window as drift tests and explanations see them: the columns of the reference, computed for live traffic.

Beside what the log kept (prediction, probabilities, groups, context) that is each text's descriptors, the sketch of its words and the
model's embedding. The model is asked again for the embeddings, which no log keeps; where it is not at hand they are left out. Knows
nothing of the tests.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from evergreen.data.records import read_table
from evergreen.drift import reference as kept
from evergreen.drift.descriptors import describe
from evergreen.drift.rows import Seen, Vocabulary, distinct
from evergreen.drift.words import sketches
from evergreen.errors import EvidenceError, MonitorError
from evergreen.model.inference import Classifier
from evergreen.reports import read_report

TOLD = ("group_", "context_")  # beginnings of the columns that callers tell beside a text


@dataclass(frozen=True)
class Reference:
    """What a version met and answered on its test rows: `table` row by row, `summary`, and the same `known` to the detectors."""

    table: pd.DataFrame
    summary: dict[str, Any]
    known: kept.Reference

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the folder that the snapshot stage wrote; raise MonitorError where it is not whole."""
        try:
            return cls(read_table(folder / kept.TABLE), read_report(folder / kept.SUMMARY), kept.Reference.load(folder))
        except OSError as fault:
            raise MonitorError(f"the reference in {folder} cannot be read ({fault.strerror}); run `dvc repro snapshot`") from None
        except EvidenceError as fault:
            raise MonitorError(f"the reference in {folder} cannot be read: {fault}") from None

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that name the content."""
        return self.known.digest

    @property
    def vocabulary(self) -> Vocabulary:
        """The words of the train texts."""
        return self.known.train

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


def observe(traffic: pd.DataFrame, vocabulary: Vocabulary, model: Classifier | None) -> pd.DataFrame:
    """Return a window's rows (N) with their descriptors and `sketch`, and `embedding` (float32 each) where there is a model."""
    texts = traffic["text"].tolist()
    seen = pd.concat([traffic.reset_index(drop=True), describe(texts, vocabulary.words)], axis=1)
    seen = seen.assign(sketch=list(sketches(texts, vocabulary.words, vocabulary.texts)))
    if model is None:
        return seen
    return seen.assign(embedding=list(np.asarray(model.scores(texts).embeddings, np.float32)))


def for_tests(seen: pd.DataFrame, reference: Reference) -> Seen:
    """Return observed rows as the detectors take them: each text once, as in the reference, and the reference's columns alone."""
    return kept.seen_in(distinct(seen), reference.told)
