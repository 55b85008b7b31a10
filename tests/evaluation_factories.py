"""Inputs of the stages calibrate, evaluate and audit: the tiny artifact, splits that it gets partly wrong, and the knobs."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

from evergreen.config import Params, load_params
from tests.factories import examples, tiny_artifact

ROOT = Path(__file__).parent.parent
ROWS = {"train": 200, "validation": 30, "calibration": 80, "test": 160}


def knobs(**sections: dict[str, object]) -> Params:
    """Return the project's own knobs with some fields of some sections replaced: knobs(audit={"seed": 3})."""
    params = load_params(ROOT / "params.yaml")
    return params.model_copy(update={name: getattr(params, name).model_copy(update=fields) for name, fields in sections.items()})


def splits(folder: Path, **tables: pd.DataFrame) -> Path:
    """Write the four splits into the folder, given ones instead of made-up ones."""
    folder.mkdir()
    for seed, (name, rows) in enumerate(ROWS.items(), start=1):
        tables.get(name, examples(rows, seed=seed)).to_parquet(folder / f"{name}.parquet", index=False)
    return folder


def workshop(folder: Path, **tables: pd.DataFrame) -> SimpleNamespace:
    """Return the inputs of the stages that judge a model: an artifact and the splits."""
    return SimpleNamespace(artifact=tiny_artifact(folder / "artifact"), splits=splits(folder / "splits", **tables))


def predictions(rows: int, *, seed: int = 0, **columns: object) -> pd.DataFrame:
    """Return examples with a `prediction` that is wrong for about one in four, more often for first language "other"."""
    table = examples(rows, seed=seed)
    random = np.random.default_rng(seed + 1000)
    wrong = random.random(rows) < np.where(table["group_first_language"] == "other", 0.4, 0.2)
    shuffled = random.permutation(table["label"].to_numpy())
    return table.assign(prediction=np.where(wrong, shuffled, table["label"]), **columns)
