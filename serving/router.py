"""The work behind a request: clean the texts as before training, classify them, mark those for a person.

Knows nothing of HTTP or BentoML.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from evergreen.data.text import clean_text
from evergreen.model.inference import Classifier
from evergreen.monitoring.records import new_id
from serving.exchange import Answer, Prediction
from serving.settings import ARTIFACT, CALIBRATION, Settings


class UnusableText(ValueError):
    """A text of which cleaning leaves nothing to classify."""


class Router:
    """A loaded model with its settings."""

    def __init__(self, classifier: Classifier, settings: Settings) -> None:
        self.classifier, self.settings = classifier, settings

    @classmethod
    def load(cls, root: Path, settings: Settings) -> Self:
        """Load the model whose artifact and calibration lie in `root`."""
        return cls(Classifier.load(root / ARTIFACT, root / CALIBRATION), settings)

    def answer(self, texts: Sequence[str]) -> Answer:
        """Answer texts in their order; raises UnusableText, which says their places, when cleaning empties some."""
        cleaned = [self.cleaned(text) for text in texts]
        empty = [str(place) for place, text in enumerate(cleaned) if not text]
        if empty:
            raise UnusableText(f"nothing is left to classify after cleaning the text at place {', '.join(empty)} (counted from 0)")
        known = self.classifier
        threshold = known.calibration.threshold
        return Answer(predictions=[self._prediction(row.tolist(), threshold) for row in known.probabilities(cleaned)])

    def _prediction(self, probabilities: list[float], threshold: float) -> Prediction:
        known, confidence = self.classifier, max(probabilities)
        return Prediction(
            request_id=new_id(),
            label=known.labels[probabilities.index(confidence)],
            probabilities=dict(zip(known.labels, probabilities, strict=True)),
            confidence=confidence,
            needs_person=confidence < threshold,
            model_version=known.version,
        )

    def cleaned(self, text: str) -> str:
        """Return a text as the clean stage would have left it."""
        cleaning = self.settings.cleaning
        return clean_text(text, unicode_form=cleaning.unicode_form, masked=cleaning.mask)[0]

    def describe(self) -> dict[str, Any]:
        """Return what GET /model tells."""
        return {
            "name": self.settings.name,
            "title": self.settings.title,
            "model_version": self.classifier.version,
            "labels": list(self.classifier.labels),
            "threshold": self.classifier.calibration.threshold,
            "verdict": self.settings.verdict,
            "limits": self.settings.limits.model_dump(),
        }
