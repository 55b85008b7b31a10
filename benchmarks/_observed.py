"""What drift benchmarks share: rows as the detectors see them, references made of them, and the settings of the monitor."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from evergreen.config import Params, load_params
from evergreen.data.records import context_columns, group_columns, read_table
from evergreen.drift.calibration import Calibration, calibrate
from evergreen.drift.reference import Reference
from evergreen.drift.rows import Seen, Vocabulary, look
from evergreen.drift.words import counts
from evergreen.model.inference import Classifier
from evergreen.sections.loop import Monitor

ROOT = Path(__file__).parents[1]
UNCALIBRATED = Calibration(0, 0, [])


def parameters() -> Params:
    """Return the project's params.yaml."""
    return load_params(ROOT / "params.yaml")


def classifier(root: Path = ROOT) -> Classifier:
    """Load the model of a checkout in which the pipeline has run."""
    return Classifier.load(root / "models" / "artifact", root / "models" / "calibration.json")


def split(name: str, root: Path = ROOT) -> pd.DataFrame:
    """Read a split of a checkout in which the pipeline has run."""
    return read_table(root / "data" / "splits" / f"{name}.parquet")


def vocabulary(texts: Sequence[str]) -> Vocabulary:
    """Return the words of the train texts."""
    return Vocabulary(counts(texts), len(texts))


def observed(table: pd.DataFrame, model: Classifier, known: Vocabulary) -> Seen:
    """Return what there is to see of a table's rows, its groups and context among it."""
    return look(table, model, known, [*group_columns(table), *context_columns(table)])


def reference_of(
    rows: Seen, truth: Sequence[str], model_labels: Sequence[str], known: Vocabulary | None, calibration: Calibration | None = None
) -> Reference:
    """Return a reference in memory; calibrated as the snapshot stage does unless a calibration is given."""
    made = calibration if calibration is not None else calibrate(rows, model_labels, parameters().snapshot.seed)
    known = known or Vocabulary({}, 0)
    return Reference("measured", "0" * 16, tuple(model_labels), rows, np.array(truth, dtype=object), known, known, made)


def settings(**changes: object) -> Monitor:
    """Return the monitor's settings with changes."""
    return parameters().monitor.model_copy(update=changes)
