"""The rules of the gate: where each finds its figure, which end of it is judged, and what to do when it is not there.

Bounds, and what a failure means, are no business of this file: they stand in params.yaml.
"""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """How one rule reads its evidence.

    `place` leads to the figure, the report's name first; `judges` says which end of it must keep to the bound;
    `least` and `most` are what the figure can possibly be: anything outside is a broken report, not a result.
    """

    rule: str
    title: str
    subject: str
    place: tuple[str, ...]
    bound: str
    side: Literal["at least", "at most"]
    unit: str
    judges: Literal["value", "low", "high"] = "value"
    least: float = 0.0
    most: float = 1.0
    scale: float = 1.0
    strict: bool = False  # the bound itself fails: a lead of exactly nothing is no lead
    loss: bool = False  # the bound is a loss: a figure that is a difference must not lie below its negative
    cautious: bool = False  # where the interval holds both sides of the bound, nothing is known: that is at most a hold
    remedy: str = ""


CHECKS = (
    Check(
        rule="beats_baseline",
        title="Beats the simple baseline",
        subject="the model's lead over the word-count baseline, in macro F1,",
        place=("metrics", "lead", "macro_f1"),
        bound="min_lead",
        side="at least",
        unit="macro F1",
        judges="low",
        least=-1.0,
        strict=True,
        remedy="run `dvc repro evaluate`",
    ),
    Check(
        rule="macro_f1",
        title="Macro F1",
        subject="macro F1 (the mean over labels of how well each is found)",
        place=("metrics", "macro_f1"),
        bound="min_value",
        side="at least",
        unit="macro F1",
        remedy="run `dvc repro evaluate`",
    ),
    Check(
        rule="worst_group",
        title="Worst group's accuracy",
        subject="accuracy in the group served worst",
        place=("audit", "worst_group", "accuracy"),
        bound="min_value",
        side="at least",
        unit="accuracy",
        remedy="name group columns in ingest.columns.groups, or gather more rows of the small groups",
    ),
    Check(
        rule="fairness_gap",
        title="Largest gap between groups",
        subject="the largest accuracy gap between groups",
        place=("audit", "largest_gap", "difference"),
        bound="max_upper",
        side="at most",
        unit="accuracy",
        judges="high",
        remedy="name group columns in ingest.columns.groups, or gather more rows of the small groups",
    ),
    Check(
        rule="calibration",
        title="Calibration error",
        subject="the gap between stated confidence and accuracy (ECE)",
        place=("metrics", "ece"),
        bound="max_value",
        side="at most",
        unit="ECE",
        remedy="run `dvc repro evaluate`",
    ),
    Check(
        rule="parity",
        title="Same answers after export",
        subject="agreement of the exported model with the trained one",
        place=("compression", "label_agreement"),
        bound="min_agreement",
        side="at least",
        unit="share of rows",
        remedy="run `dvc repro compress`",
    ),
    Check(
        rule="artifact_size",
        title="Size",
        subject="the size of the artifact",
        place=("compression", "bytes"),
        bound="max_megabytes",
        side="at most",
        unit="MB",
        most=math.inf,
        scale=1e-6,
        remedy="run `dvc repro compress`",
    ),
    Check(
        rule="latency",
        title="Latency",
        subject="the time for one text, 95 times out of 100,",
        place=("latency", "p95_milliseconds"),
        bound="max_p95_milliseconds",
        side="at most",
        unit="ms",
        most=math.inf,
        remedy="run `dvc repro compress`",
    ),
    Check(
        rule="no_worse",
        title="No worse than the champion",
        subject="accuracy gained on the champion, on the same new test rows,",
        place=("challenge", "new", "difference"),
        bound="max_loss",
        side="at least",
        unit="accuracy",
        judges="low",
        least=-1.0,
        loss=True,
        cautious=True,
        remedy="run `dvc repro challenge`",
    ),
    Check(
        rule="remembers",
        title="Forgets nothing",
        subject="accuracy gained on the champion, on the same old test rows,",
        place=("challenge", "old", "difference"),
        bound="max_loss",
        side="at least",
        unit="accuracy",
        judges="low",
        least=-1.0,
        loss=True,
        cautious=True,
        remedy="run `dvc repro challenge`",
    ),
    Check(
        rule="negative_flips",
        title="Negative flips",
        subject="the share of test rows that the champion had right and this model has wrong",
        place=("challenge", "all", "negative_flips"),
        bound="max_share",
        side="at most",
        unit="share of rows",
        remedy="run `dvc repro challenge`",
    ),
    Check(
        rule="no_slice_worse",
        title="No slice worse",
        subject="accuracy gained on the champion in the slice that fares worst",
        place=("challenge", "worst_slice", "difference"),
        bound="max_loss",
        side="at least",
        unit="accuracy",
        judges="high",
        least=-1.0,
        loss=True,
        remedy="gather more rows, or lower challenge.min_slice_rows",
    ),
)
