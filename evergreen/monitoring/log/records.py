"""What is kept of each answer and of each label that comes later: the rows of the request log, before any database.

Imports the standard library alone: the service makes these rows on its way to an answer.
"""

import os
import time
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal

# champion and canary: the caller got this answer. shadow: what the challenger would have said; the caller never saw it.
Role = Literal["champion", "canary", "shadow"]
ID_PATTERN = "^[0-9a-f]{32}$"


@dataclass(frozen=True, slots=True)
class Answered:
    """One text and what a model said of it. A shadow row shares the request id of the answer that the caller got."""

    request_id: str
    role: Role
    time: float  # seconds since 1970, UTC
    key_id: str  # of the API key; "" where keys are off
    model_version: str
    text: str  # as the model saw it: cleaned, personal data masked
    prediction: str
    probabilities: dict[str, float]  # by label, in the model's order
    confidence: float
    needs_person: bool
    latency_ms: float  # from the request's body being read to its answer being ready
    groups: dict[str, str] = field(default_factory=dict)  # what the caller said of the sender, personal data masked

    @property
    def text_hash(self) -> str:
        """Return the sha256 of the masked text, for finding repeats where texts themselves have been retired."""
        return sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Labelled:
    """The right label of an answered text, as somebody told it later."""

    feedback_id: str  # its own, so that a row replayed twice is kept once
    request_id: str
    label: str
    time: float  # when it was told: seconds since 1970, UTC
    key_id: str


def new_id(now: float | None = None) -> str:
    """Return 32 hexadecimal digits that sort by time: milliseconds since 1970 (12 digits), then chance (20)."""
    milliseconds = int((time.time() if now is None else now) * 1000)
    return f"{milliseconds:012x}{os.urandom(10).hex()}"


def id_time(request_id: str) -> float:
    """Return when an id was made, in seconds since 1970."""
    return int(request_id[:12], 16) / 1000
