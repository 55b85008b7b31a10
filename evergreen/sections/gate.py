"""The rules of the gate: what a model must show before it may ship."""

from typing import Annotated, Literal

from pydantic import Field

from evergreen.sections.base import Positive, Section, Share

Failure = Literal["hold", "reject"]


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
