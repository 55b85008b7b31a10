"""Whether the model treats groups alike: accuracy, selection and error rates of each group and class, and their gaps.

Points come from fairlearn's MetricFrame, intervals from our own bootstrap (fairlearn's takes minutes where this takes
seconds; a test holds the two to the same figures). fairlearn reads rates off binary labels and is silently wrong on
several classes, so every class is asked as its own yes-or-no question.

Read gaps with care. The gap between the best and the worst of several groups is above 0 by chance alone, the more so the
smaller and the more numerous the groups; on resamples it is larger still. The interval of a gap is therefore shifted
upwards: its upper end errs on the safe side, and a lower end above 0 is no proof of unequal treatment.
Source: Weerts et al., Fairlearn, JMLR 2023; Hardt, Price and Srebro, Equality of Opportunity, NIPS 2016.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from fairlearn.metrics import MetricFrame
from sklearn.metrics import accuracy_score, multilabel_confusion_matrix

from evergreen.data.records import MISSING_GROUP
from evergreen.evaluation import metrics
from evergreen.evaluation.intervals import Floats, Integers, Interval, Statistic, bootstrap, cluster_codes, interval

MIN_RATE_ROWS = 10  # rows that a rate must rest on: a true positive rate needs as many rows of its class in the group
RATES = ("selection_rate", "true_positive_rate", "false_positive_rate")
CROSS = " x "


@dataclass(frozen=True)
class Subject:
    """What is audited: `actual` and `predicted` (n,) as positions in `labels`, and the customers that rows belong to."""

    labels: tuple[str, ...]
    actual: Integers
    predicted: Integers
    clusters: Integers | None

    @classmethod
    def of(cls, table: pd.DataFrame) -> "Subject":
        """Return the subject that a table of predictions holds."""
        labels = tuple(sorted({*table["label"], *table["prediction"]}))
        clusters = cluster_codes(table["customer"].tolist()) if "customer" in table.columns else None
        actual, predicted = (metrics.label_codes(table[name].tolist(), labels) for name in ("label", "prediction"))
        return cls(labels, actual, predicted, clusters)


@dataclass(frozen=True)
class Grouping:
    """Rows sorted into groups: `codes` (n,) are positions in `names`, -1 for a row of no group."""

    title: str
    names: tuple[str, ...]
    codes: Integers

    @classmethod
    def of(cls, title: str, values: Sequence[object]) -> "Grouping":
        """Return the grouping of a column; a missing value is a group of its own."""
        named = [MISSING_GROUP if pd.isna(value) else str(value) for value in values]  # type: ignore[call-overload]
        names = tuple(sorted(set(named)))
        return cls(title, names, metrics.label_codes(named, names))

    @property
    def rows(self) -> Integers:
        """Rows of each group, (G,)."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.names))

    def at_least(self, rows: int) -> "Grouping":
        """Return the grouping without its groups of fewer rows."""
        kept = tuple(name for name, count in zip(self.names, self.rows, strict=True) if count >= rows)
        moved = np.append(metrics.label_codes(self.names, kept), -1)  # a code of -1 finds the last place, and stays -1
        return Grouping(self.title, kept, moved[self.codes])


@dataclass(frozen=True)
class Sampled:
    """Accuracy (G,) and rates (3, G, C) of G groups in the order of RATES, and the same on B resamples.

    A rate that rests on fewer than MIN_RATE_ROWS rows is NaN.
    """

    accuracy: Floats
    rates: Floats
    accuracy_draws: Floats
    rate_draws: Floats
    level: float


def cross(one: Grouping, other: Grouping) -> Grouping:
    """Return the crossings of two groupings that have rows: `18-34 x other`."""
    pairs = zip(one.codes.tolist(), other.codes.tolist(), strict=True)
    return Grouping.of(one.title + CROSS + other.title, [one.names[i] + CROSS + other.names[j] for i, j in pairs])


def sample(subject: Subject, grouping: Grouping, *, resamples: int, level: float, seed: int) -> Sampled:
    """Return accuracy and rates of each group: points from MetricFrame, draws from our bootstrap."""
    places = [np.flatnonzero(grouping.codes == code) for code in range(len(grouping.names))]
    counters = [rate_counter(subject, rows) for rows in places]
    statistics: dict[str, Statistic] = {
        "accuracy": lambda weights: np.stack([_accuracy(subject, rows, weights[:, rows]) for rows in places], axis=1),
        "rates": lambda weights: np.stack([rates(weights[:, rows]) for rates, rows in zip(counters, places, strict=True)], axis=2),
    }
    result = bootstrap(statistics, rows=len(subject.actual), resamples=resamples, level=level, seed=seed, clusters=subject.clusters)
    accuracy, rates = metric_frame(subject, grouping)
    rates = np.where(rate_rows(subject, grouping) >= MIN_RATE_ROWS, rates, np.nan)
    return Sampled(accuracy, rates, result.draws["accuracy"], result.draws["rates"], level)


def metric_frame(subject: Subject, grouping: Grouping) -> tuple[Floats, Floats]:
    """Return accuracy (G,) and rates (3, G, C), the rows sorted into groups by fairlearn and counted by scikit-learn.

    Each class is its own yes-or-no question, all of them in one frame: a frame for each class takes 100 times as long.
    """
    every_class, inside = np.arange(len(subject.labels)), grouping.codes >= 0

    def counts(actual_R: Integers, predicted_R: Integers) -> Integers:
        return np.asarray(multilabel_confusion_matrix(actual_R, predicted_R, labels=every_class))

    frame = MetricFrame(
        metrics={"accuracy": accuracy_score, "counts": counts},
        y_true=subject.actual[inside],
        y_pred=subject.predicted[inside],
        sensitive_features=np.array(grouping.names, object)[grouping.codes[inside]],
    ).by_group.loc[list(grouping.names)]
    counts_GC22 = np.stack(frame["counts"].tolist()).astype(np.float64)
    passed, wrong, missed, right = counts_GC22.reshape(*counts_GC22.shape[:2], 4).transpose(2, 0, 1)
    parts = [(right + wrong, right + wrong + missed + passed), (right, right + missed), (wrong, wrong + passed)]
    return frame["accuracy"].to_numpy(float), np.stack([metrics.ratio(above, below) for above, below in parts])


def rate_counter(subject: Subject, rows_R: Integers) -> Statistic:
    """Return a function from weights (B, r) of some rows to selection, true and false positive rates (B, 3, C).

    selection = answers of the class / rows; true positive = right answers / rows of the class; false positive = wrong
    answers of the class / rows of other classes. All 0 to 1; NaN without rows to count.
    """
    counter = metrics.class_counter(subject.actual[rows_R], subject.predicted[rows_R], classes=len(subject.labels))

    def rates(weights_BR: Floats) -> Floats:
        found, total = counter(weights_BR), weights_BR.sum(axis=1, keepdims=True)
        parts = [(found.answers, total), (found.right, found.rows), (found.answers - found.right, total - found.rows)]
        return np.stack([metrics.ratio(above, below) for above, below in parts], axis=1)

    return rates


def gap(points_G: Floats, draws_BG: Floats, *, level: float) -> tuple[Interval, Interval, int, int] | None:
    """Return the difference (best - worst) and the ratio (worst / best) of groups, and the places of worst and best.

    A difference of 0 and a ratio of 1 mean that all groups are treated alike. Groups without a figure (NaN) are left out;
    None where fewer than two have one. Each resample looks for its own best and worst, as MetricFrame does.
    """
    defined_G = np.isfinite(points_G)
    if defined_G.sum() < 2:
        return None
    draws_BD = draws_BG[:, defined_G]
    low_B, high_B = np.fmin.reduce(draws_BD, axis=1), np.fmax.reduce(draws_BD, axis=1)
    worst, best = int(np.nanargmin(points_G)), int(np.nanargmax(points_G))
    low, high = points_G[worst], points_G[best]
    difference = interval(high - low, high_B - low_B, level=level)
    return difference, interval(metrics.ratio(low, high), metrics.ratio(low_B, high_B), level=level), worst, best


def _accuracy(subject: Subject, rows_R: Integers, weights_BR: Floats) -> Floats:
    return metrics.accuracy(subject.actual[rows_R], subject.predicted[rows_R], weights_BR)


def rate_rows(subject: Subject, grouping: Grouping) -> Integers:
    """Return the rows that each rate rests on, (3, G, C): the group's, those of the class, those of the other classes."""
    rows_GC = np.stack(
        [np.bincount(subject.actual[grouping.codes == code], minlength=len(subject.labels)) for code in range(len(grouping.names))]
    )
    rows_G1 = rows_GC.sum(axis=1, keepdims=True)
    return np.stack([np.broadcast_to(rows_G1, rows_GC.shape), rows_GC, rows_G1 - rows_GC])
