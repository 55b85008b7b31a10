"""Champion against challenger: what each answered, how surely, how fast, and which is right more often.

In shadow both have judged the same requests, and the difference of their accuracies is a paired one; in a canary it is one of two
streams. Either way its interval holds at every look (`evergreen.evaluation.sequential`), so that a trial may be watched and ended at
any time. Every answer is read once and forgotten: memory does not grow with traffic. Knows nothing of databases.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from evergreen.evaluation.sequential import (
    LEVEL,
    Bounds,
    Floats,
    Verdict,
    paired_bounds,
    paired_difference,
    share,
    unpaired_bounds,
    unpaired_difference,
    verdict,
)
from evergreen.monitoring.trials.quantiles import Quantiles
from evergreen.monitoring.trials.trial import Row, Trial

FARTHEST = 50  # how many times the present number of labels a forecast reaches
FEWEST = 20  # labels from which a forecast is made


@dataclass(frozen=True, slots=True)
class LabelFigures:
    """One label in one arm: how often it was predicted, how often it was told to be right, and how often both."""

    predicted: int
    told: int
    right: int


@dataclass(frozen=True, slots=True)
class Arm:
    """What is on record of one version. Shares carry an interval that holds at every look; milliseconds are within 1%."""

    version: str
    answers: int
    keys: int
    confidence: float  # mean; NaN without answers
    needs_person: Bounds
    p50_ms: float
    p95_ms: float
    p99_ms: float
    labelled: int
    accuracy: Bounds  # among the labelled
    labels: Mapping[str, LabelFigures]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Requests that got one label from the champion and another from the challenger, and who was right where it is known."""

    champion: str
    challenger: str
    requests: int
    champion_right: int
    challenger_right: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """The trial as it stands. `difference` is the challenger's accuracy minus the champion's."""

    trial: Trial
    champion: Arm
    challenger: Arm
    agreement: Bounds | None  # None in a canary, whose arms answered different requests
    disagreements: tuple[Disagreement, ...]  # the most frequent first
    missing: int  # the champion's answers that the challenger in shadow did not judge
    wins: int  # labelled requests that the challenger alone had right; 0 in a canary, like losses
    losses: int
    difference: Bounds
    level: float
    margin: float | None
    verdict: Verdict
    labels_needed: int | None  # in all, for a verdict, should the figures stay; None where there is one or none is near
    others: int  # answers that callers got meanwhile from versions outside the comparison

    def report(self) -> dict[str, Any]:
        """Return it as JSON holds it; what is undefined is null."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


class _Tally:
    """Counts one version's answers."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.answers = self.unsure = self.labelled = self.right = 0
        self.confidence = 0.0
        self.latency = Quantiles()
        self.keys: set[str] = set()
        self.predicted: Counter[str] = Counter()
        self.told: Counter[str] = Counter()
        self.both: Counter[str] = Counter()

    def add(self, row: Row) -> None:
        self.answers += 1
        self.unsure += row.needs_person
        self.confidence += row.confidence
        self.latency.add(row.latency_ms)
        self.keys.add(row.key_id)
        self.predicted[row.prediction] += 1
        if row.label is not None:
            self.labelled += 1
            self.told[row.label] += 1
            if row.prediction == row.label:
                self.right += 1
                self.both[row.label] += 1

    def arm(self, level: float) -> Arm:
        p50, p95, p99 = (self.latency.at(part) for part in (0.5, 0.95, 0.99))
        return Arm(
            version=self.version,
            answers=self.answers,
            keys=len(self.keys),
            confidence=self.confidence / self.answers if self.answers else math.nan,
            needs_person=share(self.unsure, self.answers, level=level),
            p50_ms=p50,
            p95_ms=p95,
            p99_ms=p99,
            labelled=self.labelled,
            accuracy=share(self.right, self.labelled, level=level),
            labels={
                label: LabelFigures(self.predicted[label], self.told[label], self.both[label])
                for label in sorted({*self.predicted, *self.told})
            },
        )


def compare_pairs(
    trial: Trial, pairs: Iterable[tuple[Row, Row]], *, told: int = 0, others: int = 0, margin: float | None = None, level: float = LEVEL
) -> Comparison:
    """Return how a trial in shadow stands. `told` is how many answers the champion gave in all, judged by both or not."""
    champion, challenger = _Tally(trial.champion), _Tally(trial.challenger)
    agreed = wins = losses = 0
    apart: Counter[tuple[str, str]] = Counter()
    champion_right: Counter[tuple[str, str]] = Counter()
    challenger_right: Counter[tuple[str, str]] = Counter()
    for old, new in pairs:
        champion.add(old)
        challenger.add(new)
        if old.prediction == new.prediction:
            agreed += 1
            continue
        both = (old.prediction, new.prediction)
        apart[both] += 1
        if old.label == old.prediction:
            losses += 1
            champion_right[both] += 1
        elif old.label == new.prediction:
            wins += 1
            challenger_right[both] += 1
    rows = champion.labelled
    difference = paired_difference(wins, losses, rows, level=level)
    says = verdict(difference.low, difference.high, margin)
    return Comparison(
        trial=trial,
        champion=champion.arm(level),
        challenger=challenger.arm(level),
        agreement=share(agreed, champion.answers, level=level),
        disagreements=tuple(
            Disagreement(*both, requests, champion_right[both], challenger_right[both])
            for both, requests in sorted(apart.items(), key=lambda item: (-item[1], item[0]))
        ),
        missing=max(0, told - champion.answers),
        wins=wins,
        losses=losses,
        difference=difference,
        level=level,
        margin=margin,
        verdict=says,
        labels_needed=_needed(says, rows, margin, lambda times: paired_bounds(wins * times, losses * times, rows * times, level=level)),
        others=others,
    )


def compare_arms(
    trial: Trial,
    champions: Iterable[Row],
    challengers: Iterable[Row],
    *,
    others: int = 0,
    margin: float | None = None,
    level: float = LEVEL,
) -> Comparison:
    """Return how a canary stands."""
    champion, challenger = _Tally(trial.champion), _Tally(trial.challenger)
    for tally, rows in ((champion, champions), (challenger, challengers)):
        for row in rows:
            tally.add(row)
    counts = np.array([challenger.right, challenger.labelled, champion.right, champion.labelled])
    difference = unpaired_difference(*map(int, counts), level=level)
    says = verdict(difference.low, difference.high, margin)
    return Comparison(
        trial=trial,
        champion=champion.arm(level),
        challenger=challenger.arm(level),
        agreement=None,
        disagreements=(),
        missing=0,
        wins=0,
        losses=0,
        difference=difference,
        level=level,
        margin=margin,
        verdict=says,
        labels_needed=_needed(
            says, int(counts[1] + counts[3]), margin, lambda times: unpaired_bounds(*(counts[:, None] * times), level=level)
        ),
        others=others,
    )


def _needed(says: Verdict, rows: int, margin: float | None, bounds: Callable[[Floats], tuple[Floats, Floats]]) -> int | None:
    """Return after how many labels there is a verdict if the shares stay what they are; None where it is not near."""
    if says != "not yet" or rows < FEWEST:
        return None
    times = np.geomspace(1, FARTHEST, 60)
    for more, low, high in zip(times, *bounds(times), strict=True):
        if verdict(float(low), float(high), margin) != "not yet":
            return math.ceil(rows * float(more))
    return None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
