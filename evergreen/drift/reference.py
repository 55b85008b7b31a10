"""The reference: what the model met and answered on test rows, kept so that later traffic can be compared with it.

No texts are kept: descriptors, embeddings, sketches of words, outputs, labels, groups and context, row by row; a summary of their shape;
how many texts use each word that at least two texts use; and the calibration of the detectors.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.data.records import context_columns, group_columns, read_table, write_table
from evergreen.drift.calibration import Calibration, FirstLook
from evergreen.drift.descriptors import TITLES
from evergreen.drift.rows import Seen, Vocabulary, repeated_in, told
from evergreen.errors import EvidenceError
from evergreen.reports import read_report, write_report

BINS = 10  # of a descriptor's histogram, equally full
TABLE, SUMMARY, WORDS, CALIBRATION = "reference.parquet", "reference.json", "words.json", "calibration.json"
FORMAT = 2


@dataclass(frozen=True)
class Reference:
    """A reference, loaded: `rows` and their true `truth` (N,) under `labels` (the model's order); `digest` names its content.

    `train` and `own` are the words of the train texts and of the reference's own. `trained_until` is when the newest train row was
    written (seconds since 1970); None where rows have no time.
    """

    model_version: str
    digest: str
    labels: tuple[str, ...]
    rows: Seen
    truth: NDArray[Any]
    train: Vocabulary
    own: Vocabulary
    calibration: Calibration
    trained_until: float | None = None
    _looks: dict[tuple[int, tuple[str, ...], int], FirstLook] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def categories(self) -> list[str]:
        """Return the columns of groups and context, prefix included."""
        return list(self.rows.categories)

    def first_look(self, window: int, without: tuple[str, ...], seed: int) -> FirstLook:
        """Return the detectors fitted on the reference for windows of so many rows; kept for the next window like it."""
        size = 1 << (window - 1).bit_length()  # windows of about one size share a fit
        key = (size, without, seed)
        if key not in self._looks:
            self._looks[key] = FirstLook(self.rows.without(without), self.labels, size, seed)
        return self._looks[key]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `keep` wrote; raise EvidenceError where it is missing or of another time."""
        summary = read_report(folder / SUMMARY)
        if summary.get("format") != FORMAT:
            raise EvidenceError(f"{folder / SUMMARY} has format {summary.get('format')}, not {FORMAT}; make it anew: `dvc repro snapshot`")
        missing = [name for name in (TABLE, WORDS, CALIBRATION) if not (folder / name).is_file()]
        if missing:
            raise EvidenceError(f"{folder / missing[0]} is missing; run `dvc repro snapshot`")
        table, words = read_table(folder / TABLE), read_report(folder / WORDS)
        return cls(
            model_version=summary["model_version"],
            digest=digest(folder),
            labels=tuple(summary["labels"]),
            rows=seen_in(table, [*group_columns(table), *context_columns(table)]),
            truth=table["label"].to_numpy(),
            train=Vocabulary(words["train"]["words"], words["train"]["texts"]),
            own=Vocabulary(words["reference"]["words"], words["reference"]["texts"]),
            calibration=Calibration.of(read_report(folder / CALIBRATION)),
            trained_until=summary.get("trained_until"),
        )


def digest(folder: Path) -> str:
    """Return 16 hexadecimal digits that name the content of a reference's folder."""
    whole = sha256()
    for name in sorted((TABLE, SUMMARY, WORDS, CALIBRATION)):
        whole.update(f"{name} {sha256((folder / name).read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()[:16]


def keep(folder: Path, table: pd.DataFrame, summary: dict[str, Any], train: Vocabulary, own: Vocabulary, calibration: Calibration) -> None:
    """Write a reference into a new folder; the same content gives the same bytes."""
    folder.mkdir()
    write_table(table, folder / TABLE)
    write_report(summary, folder / SUMMARY)
    parts = {"train": train, "reference": own}
    write_report({name: {"texts": part.texts, "words": dict(part.words)} for name, part in parts.items()}, folder / WORDS)
    write_report(calibration.told(), folder / CALIBRATION)


def sample(table: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    """Return at most `most` rows, chosen by the seed, in their order."""
    if len(table) <= most:
        return table.reset_index(drop=True)
    chosen = np.random.default_rng(seed).choice(len(table), size=most, replace=False)
    return table.iloc[np.sort(chosen)].reset_index(drop=True)


def reference_table(predictions: pd.DataFrame, seen: Seen) -> pd.DataFrame:
    """Return the reference, one line per row of `predictions` (N, with `probabilities`, `prediction`, `confidence`).

    Columns: id, label, groups, context, prediction, confidence, probabilities (list), the descriptors, embedding and sketch (lists of
    float32).
    """
    columns = ["id", "label", *group_columns(predictions), *context_columns(predictions), "prediction", "confidence", "probabilities"]
    table = pd.concat([predictions[columns].reset_index(drop=True), seen.descriptors.reset_index(drop=True)], axis=1)
    return table.assign(embedding=list(np.asarray(seen.embeddings, np.float32)), sketch=list(np.asarray(seen.sketches, np.float32)))


def seen_in(table: pd.DataFrame, categories: Sequence[str]) -> Seen:
    """Return the rows of a table like a reference's as the detectors take them; a category that it lacks is "missing" throughout."""
    return Seen(
        descriptors=table[[name for name in TITLES if name in table.columns]].astype("float64").reset_index(drop=True),
        probabilities=_stacked(table["probabilities"], np.float64),
        embeddings=_stacked(table["embedding"], np.float32),
        sketches=_stacked(table["sketch"], np.float32),
        categories={name: told(table, name) for name in categories},
        repeated=repeated_in(table),
    )


def _stacked(vectors: "pd.Series[Any]", kind: type) -> NDArray[Any]:
    return np.stack(vectors.tolist()).astype(kind) if len(vectors) else np.empty((0, 0), kind)


def reference_summary(table: pd.DataFrame, descriptors: Sequence[str], *, labels: Sequence[str], model_version: str) -> dict[str, Any]:
    """Return how the reference is shaped: rows, shares of labels, predictions, groups and context, and each descriptor's bins.

    A descriptor has `edges` (inner edges of at most 10 about equally full bins; a value belongs right of an edge that it
    reaches) and `shares`, one more than there are edges, summing to 1.
    """
    groups = [*group_columns(table), *context_columns(table)]
    return {
        "format": FORMAT,
        "model_version": model_version,
        "rows": len(table),
        "accuracy": float((table["label"] == table["prediction"]).mean()),
        "labels": list(labels),
        "embedding_size": len(table["embedding"].iloc[0]),
        "mean_confidence": float(table["confidence"].mean()),
        "shares": {name: _shares(table[name]) for name in ("label", "prediction", *groups)},
        "descriptors": {name: _histogram(table[name].to_numpy()) for name in descriptors},
    }


def _shares(values: pd.Series) -> dict[str, float]:
    return {str(name): float(share) for name, share in values.value_counts(normalize=True).sort_index().items()}


def _histogram(values: NDArray[Any]) -> dict[str, list[float]]:
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
    edges = edges[edges > values.min()]
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    return {"edges": [float(edge) for edge in edges], "shares": [float(share) for share in counts / counts.sum()]}
