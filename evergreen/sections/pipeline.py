"""From the source to the model: one section for each stage, in params.yaml's order."""

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import Field, model_validator

from evergreen.sections.base import Count, Level, Positive, Section, Seed, Share

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Masked = Literal["email", "phone", "card", "iban", "account"]
SPLITS = ("train", "validation", "calibration", "test")


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


class Start(Section):
    """The weights of a trained classifier, and their fingerprint."""

    source: str
    sha256: Sha256


class Finetune(Section):
    """Training: schedule, precision, threads, checkpoints."""

    backbone: Backbone
    start: Start | None
    mode: Literal["full", "frozen"]
    class_weights: Literal["none", "balanced"]
    members: Count
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
