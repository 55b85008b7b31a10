"""What answers: the contracts between the API and the models behind it, be they in this process or in others.

Knows nothing of HTTP, of BentoML, or of where a model runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

Mode = Literal["shadow", "canary"]


class UnusableText(ValueError):
    """Texts of which cleaning leaves nothing to classify; `places` counts from 0 within the request."""

    def __init__(self, places: Sequence[int]) -> None:
        self.places = tuple(places)
        super().__init__(
            f"nothing is left to classify after cleaning the text at place {', '.join(map(str, self.places))} (counted from 0)"
        )


class NotReady(RuntimeError):
    """No model can answer just now: it is starting, or it has died and is being started again."""


@dataclass(frozen=True, slots=True)
class About:
    """What a loaded model says of itself."""

    version: str
    labels: tuple[str, ...]
    threshold: float


@dataclass(frozen=True, slots=True)
class Judged:
    """What a model says of one text: `text` as it saw it (cleaned, masked), `probabilities` in the order of its labels."""

    text: str
    probabilities: tuple[float, ...]
    batch: int  # texts that shared its run through the model


class Model(Protocol):
    """A loaded model, wherever it runs. `root` holds its service.json, card, dossier, metrics and provenance."""

    @property
    def about(self) -> About:
        """What it is; raises NotReady while nobody knows."""

    @property
    def root(self) -> Path:
        """The folder of its Bento's files."""

    async def judge(self, texts: Sequence[str]) -> list[Judged]:
        """Judge texts in their order. Raises UnusableText, and NotReady when no model took them or it died twice over them."""


@dataclass(frozen=True, slots=True)
class Challenger:
    """A model beside the champion. In a canary it answers for `share` (0 to 1) of the API keys."""

    model: Model
    mode: Mode
    share: float


class Models(Protocol):
    """The models that are live. Each attribute is read once per request: what it names answers the whole of it."""

    @property
    def champion(self) -> Model:
        """The live model; raises NotReady while there is none."""

    @property
    def challenger(self) -> Challenger | None:
        """The model on trial, if any."""
