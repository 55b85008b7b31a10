"""Rows as the watch over live traffic sees them: what the model, the words and the callers say of each text, never the text itself.

Knows nothing of files, nor of what is compared with what.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.data.records import CONTEXT_PREFIX, GROUP_PREFIX, MISSING_GROUP
from evergreen.drift.descriptors import describe
from evergreen.drift.words import sketches
from evergreen.model.inference import Classifier, softmax


@dataclass(frozen=True)
class Vocabulary:
    """The words that train texts use: how many of its `texts` use each."""

    words: Mapping[str, int]
    texts: int


@dataclass(frozen=True)
class Seen:
    """N rows: `descriptors` (N, 9), `probabilities` (N, labels), `embeddings` (N, size), `sketches` (N, words.SIZE).

    `categories` holds the columns of groups and context, prefix included; one that callers did not tell is "missing" in every row.
    `repeated` (N,) marks rows that stand for a text which came more than once; None: no text did.
    """

    descriptors: pd.DataFrame
    probabilities: NDArray[Any]
    embeddings: NDArray[Any]
    sketches: NDArray[Any]
    categories: dict[str, NDArray[Any]]
    repeated: NDArray[np.bool_] | None = None

    @property
    def again(self) -> NDArray[np.bool_]:
        """Return which rows' texts came more than once, shape (N,)."""
        return np.zeros(len(self), bool) if self.repeated is None else self.repeated

    def __len__(self) -> int:
        return len(self.descriptors)

    def take(self, chosen: NDArray[Any]) -> Self:
        """Return the rows at these positions (or where a mask is true)."""
        return type(self)(
            descriptors=self.descriptors.iloc[np.flatnonzero(chosen) if chosen.dtype == bool else chosen].reset_index(drop=True),
            probabilities=self.probabilities[chosen],
            embeddings=self.embeddings[chosen],
            sketches=self.sketches[chosen],
            categories={name: values[chosen] for name, values in self.categories.items()},
            repeated=self.again[chosen],
        )

    def without(self, columns: Sequence[str]) -> Self:
        """Return the rows without these columns of groups and context."""
        return replace(self, categories={name: values for name, values in self.categories.items() if name not in columns})


def pool(parts: Sequence[Seen]) -> Seen:
    """Return the rows of several windows as one, in their order; categories that some lack are "missing" there."""
    names = list(dict.fromkeys(name for part in parts for name in part.categories))
    return Seen(
        descriptors=pd.concat([part.descriptors for part in parts], ignore_index=True),
        probabilities=np.concatenate([part.probabilities for part in parts]),
        embeddings=np.concatenate([part.embeddings for part in parts]),
        sketches=np.concatenate([part.sketches for part in parts]),
        categories={name: np.concatenate([part.categories.get(name, _missing(len(part))) for part in parts]) for name in names},
        repeated=np.concatenate([part.again for part in parts]),
    )


def distinct(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table without the rows whose text an earlier row has: as in the reference, where a text sent twice counts once.

    The column `repeated` says which texts came more than once.
    """
    repeated = table["text"].duplicated(keep=False)
    return table.assign(repeated=repeated).drop_duplicates("text").reset_index(drop=True)


def look(table: pd.DataFrame, classifier: Classifier, known: Vocabulary, categories: Sequence[str]) -> Seen:
    """Return what there is to see of N texts: `table` has `text`, perhaps `repeated`, and the columns of `categories` that callers told.

    Callers tell everything as groups: `context_channel` is taken from `group_channel` where the table has no such column itself.
    """
    texts = table["text"].tolist()
    scores = classifier.scores(texts)
    return Seen(
        descriptors=describe(texts, known.words),
        probabilities=softmax(scores.logits, classifier.calibration.temperature),
        embeddings=np.asarray(scores.embeddings, np.float32),
        sketches=sketches(texts, known.words, known.texts),
        categories={name: told(table, name) for name in categories},
        repeated=repeated_in(table),
    )


def repeated_in(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Return the column `repeated` of N rows; a table without it repeats nothing."""
    return table["repeated"].to_numpy(bool) if "repeated" in table.columns else np.zeros(len(table), bool)


def told(table: pd.DataFrame, name: str) -> NDArray[Any]:
    """Return what callers told of N rows under `group_<name>` or `context_<name>`; context may stand under `group_` as well."""
    for column in (name, GROUP_PREFIX + name.removeprefix(CONTEXT_PREFIX)):
        if column in table.columns:
            return np.array(table[column].fillna(MISSING_GROUP).astype(str).tolist(), dtype=object)
    return _missing(len(table))


def _missing(rows: int) -> NDArray[Any]:
    return np.array([MISSING_GROUP] * rows, dtype=object)
