"""The schema of params.yaml: every field, its unit and its range. params.yaml is the one source of values.

Knows nothing of where the file lies in the pipeline; `load_params` takes a path.
"""

from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from evergreen.errors import ConfigError

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Level = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Cron = Annotated[str, Field(pattern=r"^\S+( \S+){4}$")]  # five fields, in UTC
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Masked = Literal["email", "phone", "card", "iban", "account"]
Failure = Literal["hold", "reject"]
SECRET = {"serve.log.url"}  # may hold what must not be repeated in an error
SPLITS = ("train", "validation", "calibration", "test")


class Section(BaseModel):
    """A section of params.yaml: unknown keys are refused, nothing has a default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Columns(Section):
    """Which column of the source holds what."""

    text: str
    label: str
    id: str | None
    time: str | None
    customer: str | None
    split: str | None
    groups: list[str]
    context: list[str]

    @model_validator(mode="after")
    def _one_role_each(self) -> "Columns":
        roles = [self.text, self.label, self.id, self.time, self.customer, self.split]
        taken = [name for name in roles if name is not None]
        double = sorted({name for name in taken if taken.count(name) > 1})
        if double:
            raise ValueError(f"column {double[0]!r} is given two roles; each of text, label, id, time, customer and split needs its own")
        if {self.text, self.label} & {*self.groups, *self.context}:
            raise ValueError("the text or the label cannot be a group or context")
        if len({*self.groups, *self.context}) < len(self.groups) + len(self.context):
            raise ValueError("a group or context column is named twice")
        return self


class Ingest(Section):
    """Source file or folder, and the roles of its columns."""

    source: str
    columns: Columns


class Validate(Section):
    """Bounds of the content checks: rows, characters, and shares of rows."""

    min_rows: Count
    min_rows_per_label: Annotated[int, Field(ge=2)]
    min_text_length: Count
    max_text_length: Count
    max_short_share: Share
    max_long_share: Share
    max_duplicate_share: Share
    max_conflict_share: Share
    max_damaged_share: Share
    latest_date: date | None
    rows_named: Count


class Clean(Section):
    """Normalisation, masking of personal data, and what becomes of duplicates."""

    unicode_form: Literal["NFC", "NFKC", "none"]
    mask: list[Masked]
    drop_duplicates: bool
    on_conflict: Literal["drop", "keep", "fail"]


class Fractions(Section):
    """Shares of rows of the four splits; they sum to 1."""

    train: Annotated[float, Field(gt=0, lt=1)]
    validation: Annotated[float, Field(gt=0, lt=1)]
    calibration: Annotated[float, Field(gt=0, lt=1)]
    test: Annotated[float, Field(gt=0, lt=1)]

    @model_validator(mode="after")
    def _sum_to_one(self) -> "Fractions":
        total = self.train + self.validation + self.calibration + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the fractions sum to {total:g}, not to 1")
        return self


class Split(Section):
    """How rows are dealt to train, validation, calibration and test."""

    method: Literal["stratified", "time", "given"]
    fractions: Fractions
    keep_together: list[Literal["customer", "near_duplicate"]]
    near_duplicate: Annotated[float, Field(gt=0, le=1)]
    seed: Seed


class Backbone(Section):
    """The pretrained model that fine-tuning starts from, and its fingerprint."""

    source: str
    revision: Annotated[str, Field(pattern="^[0-9a-f]{40}$")] | None
    sha256: Sha256 | None
    allow_download: bool


class Finetune(Section):
    """Training: schedule, precision, threads, checkpoints."""

    backbone: Backbone
    mode: Literal["full", "frozen"]
    class_weights: Literal["none", "balanced"]
    epochs: Count
    batch_size: Count
    learning_rate: Positive
    weight_decay: Annotated[float, Field(ge=0)]
    warmup_share: Share
    schedule: Literal["linear", "cosine", "constant"]
    gradient_clip: Positive
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    max_tokens: Annotated[int, Field(ge=8)]
    patience: Annotated[int, Field(ge=0)]
    keep: Literal["best", "last"]
    precision: Literal["auto", "fp32", "bf16"]
    device: Literal["auto", "cpu", "cuda"]
    threads: Count
    checkpoint_steps: Count
    tensorboard: bool
    seed: Seed


class Compress(Section):
    """The artifact that ships, and how close to the trained model it must stay."""

    precision: Literal["fp32", "int8"]
    parity_rows: Count
    max_logit_difference: Positive
    min_label_agreement: Share
    latency_requests: Count
    threads: Count


class Calibrate(Section):
    """Temperature scaling and the threshold below which a person answers."""

    bins: Annotated[int, Field(ge=2)]
    target_accuracy: Share
    min_coverage: Share


class Evaluate(Section):
    """Intervals, slices and the baseline."""

    resamples: Annotated[int, Field(ge=100)]
    level: Level
    min_slice_rows: Count
    length_bins: Annotated[list[int], Field(min_length=2)]
    baseline_c: Positive
    seed: Seed

    @model_validator(mode="after")
    def _edges_rise(self) -> "Evaluate":
        if sorted(set(self.length_bins)) != self.length_bins:
            raise ValueError(f"length_bins must rise, got {self.length_bins}")
        return self


class Audit(Section):
    """Group gaps and their intervals."""

    min_group_rows: Count
    intersections: bool
    resamples: Annotated[int, Field(ge=100)]
    level: Level
    seed: Seed


class Snapshot(Section):
    """The reference that drift is measured against."""

    alarm_level: Level
    max_rows: Count
    seed: Seed


class Challenge(Section):
    """Champion and challenger on the same test rows."""

    since: datetime | date | None
    resamples: Annotated[int, Field(ge=100)]
    level: Level
    min_slice_rows: Count
    seed: Seed


class MinLead(Section):
    """Rule: the lower end of a lead's interval lies above the bound."""

    min_lead: float
    failure: Failure


class MinValue(Section):
    """Rule: a value reaches the bound."""

    min_value: float
    failure: Failure


class MaxValue(Section):
    """Rule: a value stays within the bound."""

    max_value: float
    failure: Failure


class MaxUpper(Section):
    """Rule: the upper end of an interval stays within the bound."""

    max_upper: float
    failure: Failure


class MinAgreement(Section):
    """Rule: label agreement reaches the bound."""

    min_agreement: Share
    failure: Failure


class MaxMegabytes(Section):
    """Rule: size in 10^6 bytes stays within the bound."""

    max_megabytes: Positive
    failure: Failure


class MaxMilliseconds(Section):
    """Rule: 95th percentile of latency stays within the bound."""

    max_p95_milliseconds: Positive
    failure: Failure


class MaxLoss(Section):
    """Rule: the accuracy lost against the champion stays within the bound."""

    max_loss: Annotated[float, Field(ge=0, lt=1)]
    failure: Failure


class MaxShare(Section):
    """Rule: a share of rows stays within the bound."""

    max_share: Share
    failure: Failure


class Rules(Section):
    """The rules of the gate; null switches one off, in so many words."""

    beats_baseline: MinLead | None
    macro_f1: MinValue | None
    worst_group: MinValue | None
    fairness_gap: MaxUpper | None
    calibration: MaxValue | None
    parity: MinAgreement | None
    artifact_size: MaxMegabytes | None
    latency: MaxMilliseconds | None
    no_worse: MaxLoss | None
    remembers: MaxLoss | None
    negative_flips: MaxShare | None
    no_slice_worse: MaxLoss | None


class Gate(Section):
    """What a model must show before it may ship."""

    on_reject: Literal["report", "fail"]
    rules: Rules


class Document(Section):
    """What the model card and the dossier say that no artifact knows."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9_.-]{0,61}[a-z0-9])?$")]
    title: str
    purpose: str
    limits: str
    owner: str
    licence: str
    language: str
    watts: Positive


class Package(Section):
    """Limits of the service inside the Bento."""

    max_texts: Count
    max_characters: Count
    timeout: Count


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


class Params(Section):
    """The whole of params.yaml."""

    ingest: Ingest
    validate_: Validate = Field(alias="validate")
    clean: Clean
    split: Split
    finetune: Finetune
    compress: Compress
    calibrate: Calibrate
    evaluate: Evaluate
    audit: Audit
    snapshot: Snapshot
    challenge: Challenge
    gate: Gate
    document: Document
    package: Package
    serve: Serve
    monitor: Monitor
    policy: Policy
    retrain: Retrain
    release: Release
    notify: Notify


def load_params(path: Path) -> Params:
    """Read and check params.yaml.

    Raises ConfigError naming every fault at once, each with its place (`finetune.epochs`) and the value found.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing; run from the project's folder, or restore it with `git checkout {path}`") from None
    except (yaml.YAMLError, UnicodeDecodeError) as fault:
        raise ConfigError(f"{path} is not valid YAML: {fault}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds no sections; restore it with `git checkout {path}`")
    try:
        return Params.model_validate(content)
    except ValidationError as fault:
        raise ConfigError(_explain(path, fault)) from None


def _explain(path: Path, fault: ValidationError) -> str:
    lines = []
    for error in fault.errors():
        place = ".".join(str(part) for part in error["loc"]) or "(whole file)"
        if error["type"] == "missing":
            lines.append(f"{place} is missing")
        elif error["type"] == "extra_forbidden":
            lines.append(f"{place} is unknown; the choices are {_choices(error['loc'])}")
        else:
            given = "" if place in SECRET else f", got {error['input']!r}"
            lines.append(f"{place}: {error['msg']}{given}"[:400])
    head = f"{path} has {len(lines)} fault{'s' if len(lines) > 1 else ''}:"
    return "\n".join([head, *(f"  - {line}" for line in lines)])


def _choices(place: tuple[int | str, ...]) -> str:
    """Return the known keys of the section in which an unknown key stands."""
    section: type[BaseModel] = Params
    for part in place[:-1]:
        fields = {field.alias or name: field for name, field in section.model_fields.items()}
        inner = fields[str(part)].annotation
        options = [inner, *getattr(inner, "__args__", ())]
        section = next(option for option in options if isinstance(option, type) and issubclass(option, BaseModel))
    return ", ".join(field.alias or name for name, field in section.model_fields.items())
