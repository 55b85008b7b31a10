"""Inputs of the release tests: a Bento's contents around the tiny artifact, pins of what is installed here, and whole Bentos.

`bento_folder` lays a Bento out as BentoML would, in a tenth of a second: for tests of what runs in a Bento, not of its build.
"""

import json
from collections.abc import Sequence
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from evergreen.model.inference import Classifier
from evergreen.release.bento import Contents, lay_out
from evergreen.release.golden import golden
from evergreen.release.manifest import write_manifest
from tests import dossier_factories
from tests.factories import FILLER, LABELS, keyword, tiny_artifact, tiny_calibration

ROOT = Path(__file__).parents[1]
NAME = "tiny-inbox"
SETTINGS: dict[str, Any] = {
    "name": NAME,
    "title": "Tiny <inbox>",
    "purpose": "Sends <each> message to its team.",
    "not_for": "Not for deciding about a customer.",
    "verdict": "HOLD",
    "limits": {"max_texts": 3, "max_characters": 60, "timeout": 5},
    "cleaning": {"unicode_form": "NFKC", "mask": ["email"]},
    "serve": {
        "host": "127.0.0.1",
        "port": 0,
        "tls": None,
        "workers": 1,
        "threads": 1,
        "queue": 64,
        "connections": 50,
        "texts_per_second": 10_000,
        "burst": 10_000,
        "cache": 0,
        "log": {"url": None, "keep_days": 30, "keep_megabytes": 10, "spool_megabytes": 1},
    },
}


@cache
def installed() -> str:
    """Return a constraints file that pins all that is installed here."""
    return "".join(sorted({f"{found.name}=={found.version}\n" for found in distributions()}))


def predictions(classifier: Classifier) -> pd.DataFrame:
    """Return what a classifier says of texts of every label, one of them sure, one less so, one torn between two labels."""
    names = classifier.labels
    pairs = zip(names, (*names[1:], names[0]), strict=True)
    texts = [text for name, other in pairs for text in _spoken(keyword(name), keyword(other))]
    table = pd.DataFrame({"text": texts, "probabilities": list(classifier.probabilities(texts))})
    best = table["probabilities"].map(lambda row: int(row.argmax()))
    named = {"prediction": best.map(lambda place: names[place]), "confidence": table["probabilities"].map(max)}
    return table.assign(**named, label=named["prediction"], model_version=classifier.version)


def _spoken(word: str, other: str) -> list[str]:
    return [f"{word} {word} {FILLER[0]}", f"{FILLER[1]} {FILLER[2]} {FILLER[3]} {word}", f"{word} {other} {word} {FILLER[4]}"]


def contents(folder: Path, labels: Sequence[str] = LABELS, *, threshold: float = 0.8, sharpness: float = 6.0, **settings: Any) -> Contents:
    """Return the contents of a Bento whose files lie in the folder; `settings` replace whole sections of service.json.

    Labels, threshold and sharpness each make another version. The golden examples are what the model really says.
    """
    folder.mkdir(parents=True, exist_ok=True)
    artifact = tiny_artifact(folder / "artifact", labels, sharpness)
    calibration = tiny_calibration(folder / "calibration.json", threshold=threshold)
    classifier = Classifier.load(artifact, calibration)
    told = {**SETTINGS, **settings}
    reports = dossier_factories.reports(tuple(sorted(labels)))
    (folder / "MODEL_CARD.md").write_text("# Tiny card\n", encoding="utf-8")
    (folder / "dossier.html").write_text(f"<!doctype html><title>Tiny dossier</title>{classifier.version}\n", encoding="utf-8")
    (folder / "metrics.json").write_text(json.dumps(reports["evaluation"]["metrics"]), encoding="utf-8")
    (folder / "provenance.json").write_text(json.dumps(dossier_factories.origin(reports, calibration)), encoding="utf-8")
    names = ("artifact", "calibration.json", "MODEL_CARD.md", "dossier.html", "metrics.json", "provenance.json")
    asked = golden(predictions(classifier), precision="fp32", max_characters=told["limits"]["max_characters"], clean=str)
    return Contents(
        name=told["name"],
        version=classifier.version,
        files={name: folder / name for name in names},
        reports={"golden.json": asked},
        settings=told,
        constraints=installed(),
    )


def bento_folder(folder: Path, labels: Sequence[str] = LABELS, **changes: Any) -> Path:
    """Lay out a Bento with its manifest in the folder, which must not exist yet, and return it; `changes` go to `contents`."""
    made = contents(folder.with_name(f"{folder.name}-contents"), labels, **changes)
    lay_out(made, root=ROOT, context=folder / "src")
    (folder / "bento.yaml").write_text(yaml.safe_dump({"name": made.name, "version": made.version}), encoding="utf-8")
    write_manifest(folder, name=made.name, version=made.version)
    return folder
