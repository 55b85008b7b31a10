"""The model of a checkout as a Bento, in fp32 or int8, built by the package stage with this checkout's code."""

import os
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evergreen.config import load_params
from evergreen.data.records import read_table
from evergreen.model.inference import Classifier
from evergreen.reports import read_report, write_report


@dataclass(frozen=True)
class Packaged:
    """A Bento, its artifact, the test texts, what the artifact says of them, and whether it is right."""

    precision: str
    bento: Path
    artifact: Path
    texts: list[str]
    predicted: NDArray[np.str_]
    right: NDArray[np.bool_]


def packaged(checkout: Path, precision: str, bench: Path) -> Packaged:
    """Build a Bento under `bench` from a checkout in which the pipeline has run."""
    folder = bench / precision
    folder.mkdir()
    artifact = _artifact(checkout, precision, folder)
    calibration = checkout / "models" / "calibration.json"
    classifier = Classifier.load(artifact, calibration)
    table = read_table(checkout / "reports" / "predictions.parquet")
    probabilities = classifier.probabilities(table["text"].tolist())
    table["probabilities"] = probabilities.tolist()
    table["prediction"] = np.array(classifier.labels)[probabilities.argmax(axis=1)]
    table["confidence"] = probabilities.max(axis=1)
    table["model_version"] = classifier.version
    table.to_parquet(folder / "predictions.parquet")
    verdict = read_report(checkout / "reports" / "verdict.json") | {"model_version": classifier.version}
    write_report(verdict, folder / "verdict.json")
    _package(checkout, folder, artifact, calibration)
    predicted = table["prediction"].to_numpy(dtype=str)
    return Packaged(
        precision, folder / "bento", artifact, table["text"].tolist(), predicted, predicted == table["label"].to_numpy(dtype=str)
    )


def _artifact(checkout: Path, precision: str, folder: Path) -> Path:
    """Return the checkout's own artifact where it is of this precision, else one exported from the same classifier."""
    own = checkout / "models" / "artifact"
    described = read_report(own / "artifact.json")
    if described["precision"] == precision:
        return own
    from evergreen.model import backbone, export

    trained = checkout / "models" / "classifier"
    export.write_artifact(
        backbone.load_trained(trained),
        backbone.load_tokenizer(trained),
        folder / "artifact",
        precision=precision,
        max_tokens=described["max_tokens"],
        threads=described["threads"],
    )
    return folder / "artifact"


def _package(checkout: Path, folder: Path, artifact: Path, calibration: Path) -> None:
    from stages.package import package

    reports = checkout / "reports"
    inputs: dict[str, Any] = {
        "artifact": artifact,
        "calibration": calibration,
        "verdict": folder / "verdict.json",
        "card": reports / "MODEL_CARD.md",
        "dossier": reports / "dossier.html",
        "metrics": reports / "metrics.json",
        "provenance": reports / "provenance.json",
        "predictions": folder / "predictions.parquet",
        "constraints": Path("constraints.txt"),
    }
    os.environ["EVERGREEN_HOME"] = str(folder / "home")
    package(load_params(Path("params.yaml")), SimpleNamespace(**inputs), SimpleNamespace(bento=folder / "bento"))
