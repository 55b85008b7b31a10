"""What a Bento knows beside its model: limits, cleaning, name, verdict and how it runs, in `service.json`.

Knows nothing of BentoML. `evergreen.release.bento` writes the file when it builds the Bento.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from evergreen.data.text import Form
from evergreen.sections.loop import Serve

ARTIFACT, CALIBRATION, SETTINGS = "artifact", "calibration.json", "service.json"
CARD, DOSSIER = "MODEL_CARD.md", "dossier.html"
GOLDEN, METRICS, PROVENANCE = "golden.json", "metrics.json", "provenance.json"

Count = Annotated[int, Field(ge=1)]


class Part(BaseModel):
    """A part of the settings: unknown keys are refused, nothing has a default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(Part):
    """What one request may ask for: texts, characters of each text, and seconds until it is given up."""

    max_texts: Count
    max_characters: Count
    timeout: Count

    @property
    def max_bytes(self) -> int:
        """Bytes of the largest body that can hold an allowed request: JSON may spend 12 bytes on a character."""
        return 12 * self.max_texts * self.max_characters + 8 * self.max_texts + 1024


class Cleaning(Part):
    """How texts were cleaned before training, so that requests are cleaned alike."""

    unicode_form: Form
    mask: tuple[str, ...]


class Settings(Part):
    """The whole of service.json."""

    name: str
    title: str
    purpose: str
    not_for: str
    verdict: str
    limits: Limits
    cleaning: Cleaning
    serve: Serve  # how it runs where nobody says otherwise

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read service.json; raises pydantic's ValidationError when it holds anything else than the fields above."""
        return cls.model_validate_json(path.read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Size:
    """Processes that hold a model, and threads of each."""

    workers: int
    threads: int

    @classmethod
    def of(cls, serve: Serve) -> "Size":
        """Return what the settings ask for, or what the cores of this machine suggest."""
        cores = len(os.sched_getaffinity(0))
        workers = serve.workers or max(1, cores // 8)
        return cls(workers, serve.threads or max(1, cores // workers))
