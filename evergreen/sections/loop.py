"""The loop around the pipeline: the service, the watch, and when and how a new version comes about."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from evergreen.sections.base import Count, Level, Positive, Section, Seed, Share
from evergreen.sections.pipeline import Fractions

Cron = Annotated[str, Field(pattern=r"^\S+( \S+){4}$")]  # five fields, in UTC


class Tls(Section):
    """Certificate (chain) and key, PEM files."""

    certificate: str
    key: str


class TrafficLog(Section):
    """Where answers are recorded, and how long they are kept."""

    url: str | None
    keep_days: Count
    keep_megabytes: Count
    spool_megabytes: Count

    @field_validator("url")
    @classmethod
    def _no_password(cls, url: str | None) -> str | None:
        if url and (urlsplit(url).password or "password=" in urlsplit(url).query):
            raise ValueError(
                "it holds a password, but this file is kept in git and its content travels in the Bento; take it out, "
                "and set EVERGREEN_LOG_URL (or PGPASSWORD) where the service runs"
            )
        return url


class Serve(Section):
    """How the service runs; the limits of a single request stand in `package`."""

    host: str
    port: Annotated[int, Field(ge=0, le=65535)]
    tls: Tls | None
    workers: Count | None
    threads: Count | None
    queue: Count
    connections: Count
    texts_per_second: Positive
    burst: Count
    cache: Annotated[int, Field(ge=0)]
    log: TrafficLog


class Monitor(Section):
    """The watch over live traffic: windows, and how often quiet traffic may raise an alarm."""

    schedule: Cron | None
    min_rows: Annotated[int, Field(ge=20)]
    max_rows: Count
    false_alarms: Level
    windows: Count
    pooled: Count
    permutations: Annotated[int, Field(ge=100)]
    batch: Count
    seed: Seed


class Policy(Section):
    """When a model is trained anew."""

    max_age_days: Positive | None
    new_labels: Count | None
    measured_loss: Share | None
    estimated_loss: Share | None
    persistence: Count
    min_labels: Count
    cooldown_hours: Annotated[float, Field(ge=0)]
    budget: Count
    budget_days: Positive
    lease_seconds: Annotated[float, Field(ge=5)]


class Retrain(Section):
    """How a new version comes about."""

    branch: str
    schedule: Cron | None
    incoming: str
    start: Literal["backbone", "champion"]
    members: Count | None
    epochs: Count | None
    learning_rate: Positive | None
    rehearsal_rows: Annotated[int, Field(ge=0)]
    fractions: Fractions
    seed: Seed


class Release(Section):
    """How a promoted version goes live."""

    automatic: bool
    trial: Literal["none", "shadow", "canary"]
    trial_minutes: Positive
    trial_share: Share
    max_error_share: Share
    max_latency_ratio: Positive
    max_person_share: Share
    keep_worktrees: bool


class Notify(Section):
    """What is told, and of what."""

    events: list[Literal["alert", "verdict", "release", "failure"]]
