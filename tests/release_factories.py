"""Inputs of the release tests: a Bento's contents around the tiny artifact, and pins of what is installed here."""

from importlib.metadata import distributions
from pathlib import Path

from evergreen.model.inference import Classifier
from evergreen.release.bento import Contents
from tests.factories import LABELS, tiny_artifact, tiny_calibration

SETTINGS = {
    "name": "tiny-inbox",
    "title": "Tiny <inbox>",
    "verdict": "HOLD",
    "limits": {"max_texts": 3, "max_characters": 60, "timeout": 5},
    "cleaning": {"unicode_form": "NFKC", "mask": ["email"]},
}


def installed() -> str:
    """Return a constraints file that pins all that is installed here."""
    return "".join(sorted({f"{found.name}=={found.version}\n" for found in distributions()}))


def contents(folder: Path, labels: tuple[str, ...] = LABELS) -> Contents:
    """Return the contents of a Bento whose files lie in the folder."""
    artifact = tiny_artifact(folder / "artifact", labels)
    calibration = tiny_calibration(folder / "calibration.json", threshold=0.8)
    (folder / "MODEL_CARD.md").write_text("# Tiny card\n", encoding="utf-8")
    (folder / "dossier.html").write_text("<!doctype html><title>Tiny dossier</title>\n", encoding="utf-8")
    names = ("artifact", "calibration.json", "MODEL_CARD.md", "dossier.html")
    version = Classifier.load(artifact, calibration).version
    files = {name: folder / name for name in names}
    return Contents(name="tiny-inbox", version=version, files=files, settings=SETTINGS, constraints=installed())
