"""The service in a test: models, request log and metrics that keep what they were told, and the app around them.

The model speaks as the tiny artifact does: a label's word in a text pushes that label, every other word pushes none.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from starlette.types import ASGIApp

from evergreen.access import KeyRing
from evergreen.data.text import clean_text
from evergreen.monitoring.log.records import Answered, Labelled
from evergreen.monitoring.loop.bell import Rung
from serving.api.app import build_app
from serving.api.desk import Desk
from serving.api.health import Health
from serving.api.pressure import Admission
from serving.api.rate import Rate
from serving.model.backend import About, Challenger, Judged, Mode, NotReady, UnusableText
from serving.settings import Limits
from tests.factories import LABELS

LIMITS = Limits(max_texts=4, max_characters=60, timeout=5)


class FakeModel:
    """A model of the four teams; `wait` is awaited before every judgement, `broken` is raised instead of it."""

    root = Path()

    def __init__(self, version: str = "v1", labels: Sequence[str] = LABELS, wait: Callable[[], Any] | None = None) -> None:
        self._about = About(version, tuple(labels), threshold=0.8)
        self.ready, self.wait, self.broken = True, wait, None
        self.asked: list[str] = []

    @property
    def about(self) -> About:
        if not self.ready:
            raise NotReady("it is starting")
        return self._about

    async def judge(self, texts: Sequence[str]) -> list[Judged]:
        self.asked += texts
        if self.wait:
            await self.wait()
        if self.broken:
            raise self.broken
        cleaned = [clean_text(text, unicode_form="NFKC", masked=("email", "phone", "card", "iban", "account"))[0] for text in texts]
        if empty := [place for place, text in enumerate(cleaned) if not text]:
            raise UnusableText(empty)
        return [Judged(text, self._probabilities(text), len(texts)) for text in cleaned]

    def _probabilities(self, text: str) -> tuple[float, ...]:
        weights = [1 + 99 * (label in text.split()) for label in self._about.labels]
        return tuple(weight / sum(weights) for weight in weights)


@dataclass
class FakeModels:
    champion_model: FakeModel = field(default_factory=FakeModel)
    challenger: Challenger | None = None

    @property
    def champion(self) -> FakeModel:
        if not getattr(self.champion_model, "ready", True):  # an engine is always ready
            raise NotReady("it is starting")
        return self.champion_model


@dataclass
class FakeState:
    pending: int = 0
    dropped: int = 0
    refused: int = 0
    damaged: int = 0
    spool_bytes: int = 0
    buffered_bytes: int = 0
    database_up: bool = True
    last_error: str | None = None


class FakeRecorder:
    def __init__(self) -> None:
        self.rows: list[Answered] = []
        self.labels: list[Labelled] = []
        self.fares = FakeState()

    def answered(self, rows: Sequence[Answered]) -> None:
        self.rows += rows

    def labelled(self, row: Labelled) -> str:
        before = [known.label for known in self.labels if known.request_id == row.request_id]
        self.labels.append(row)
        return "recorded" if not before else "already recorded" if before[-1] == row.label else "corrected"

    def knows(self, request_id: str) -> bool:
        return any(row.request_id == request_id for row in self.rows)

    def state(self) -> FakeState:
        return self.fares


class FakeBell:
    """Keeps what is rung; `silent` is a database that does not answer."""

    def __init__(self) -> None:
        self.rung: list[Rung] = []
        self.silent = False

    def ring(self, told: Sequence[Rung]) -> list[tuple[SimpleNamespace, bool]] | None:
        if self.silent:
            return None
        found = [(SimpleNamespace(id=one.key, state="open"), all(one.key != other.key for other in self.rung)) for one in told]
        self.rung += told
        return found


class FakeMetrics:
    """Keeps every call as (name, *arguments); its page shows them all, as whatever reaches the real page would be seen."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *values: self.calls.append((name, *values))

    def exposition(self) -> tuple[bytes, str]:
        return "\n".join(map(repr, self.calls)).encode(), "text/plain; version=0.0.4; charset=utf-8"

    def named(self, name: str) -> list[tuple[Any, ...]]:
        return [rest for first, *rest in self.calls if first == name]


@dataclass
class Service:
    """An app with everything it was made of."""

    app: ASGIApp
    desk: Desk
    models: FakeModels
    recorder: FakeRecorder
    metrics: FakeMetrics
    health: Health
    admission: Admission
    rate: Rate
    bell: FakeBell


def service(
    keys: Path,
    *,
    models: FakeModels | None = None,
    limits: Limits = LIMITS,
    pages: Mapping[str, ASGIApp] | None = None,
    queue: int = 100,
    per_second: float = 1e6,
    burst: int = 10**6,
    cache: int = 0,
    body_seconds: float = 20.0,
) -> Service:
    """Return the service around fakes; `keys` is the path of a key file, which need not exist."""
    models, recorder, metrics, ring = models or FakeModels(), FakeRecorder(), FakeMetrics(), KeyRing(keys)
    desk = Desk(models, recorder, metrics, cache=cache)
    health, admission, rate = Health(models, recorder, ring.fault), Admission(queue, metrics), Rate(per_second, burst)
    bell = FakeBell()
    app = build_app(desk, bell, pages or {}, ring, limits, rate=rate, admission=admission, health=health, body_seconds=body_seconds)
    return Service(app, desk, models, recorder, metrics, health, admission, rate, bell)


def challenged(mode: Mode, share: float = 0.0, version: str = "v2") -> FakeModels:
    """Return a champion v1 and a challenger beside it."""
    return FakeModels(challenger=Challenger(FakeModel(version), mode, share))
