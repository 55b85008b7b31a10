"""The figures of one model on the test rows, each with its interval: the content of the evaluation's reports.

Works on codes and probabilities; knows nothing of files, texts or how the answers came about.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.evaluation import metrics
from evergreen.evaluation.intervals import Bootstrap, Floats, Integers, Statistic, bootstrap
from evergreen.evaluation.slices import Slice


@dataclass(frozen=True)
class Answers:
    """Answers to n rows beside the truth.

    `labels` are the model's C labels in the order of its probabilities; `actual` and `predicted` (n,) are positions among
    them; `probabilities` (n, C); `baseline` and `half_baseline` (n,) are the answers of the baseline trained on all and on
    half of the train rows; `threshold` is the confidence from which on the model answers by itself.
    """

    labels: tuple[str, ...]
    actual: Integers
    predicted: Integers
    probabilities: Floats
    baseline: Integers
    half_baseline: Integers
    threshold: float

    @property
    def confidence(self) -> Floats:
        """Probability of the answer, (n,)."""
        return np.asarray(self.probabilities.max(axis=1))

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Whether the model answers by itself, (n,)."""
        return self.confidence >= self.threshold


def scored(
    answers: Answers, slices: Sequence[Slice], *, bins: int, resamples: int, level: float, seed: int, clusters: Integers | None
) -> Bootstrap:
    """Return every statistic of the scorecard on the rows and on their resamples."""
    statistics = {**_overall(answers, bins=bins), **_by_class(answers), **_by_slice(answers, slices), **_by_bin(answers, bins=bins)}
    return bootstrap(statistics, rows=len(answers.actual), resamples=resamples, level=level, seed=seed, clusters=clusters)


def headline(result: Bootstrap, *, rows: int) -> dict[str, Any]:
    """Return the content of metrics.json; a lead is the model minus the baseline on the same resamples."""
    figure = {name: result.interval(name).report() for name in _OVERALL}
    return {
        "rows": rows,
        **{name: figure[name] for name in ("accuracy", "macro_f1", "log_loss", "ece")},
        "baseline": {name: figure[f"baseline_{name}"] for name in _COMPARED},
        "lead": {name: result.lead(name, f"baseline_{name}").report() for name in _COMPARED},
        "answered": {"coverage": figure["coverage"], "accuracy": figure["accuracy_answered"]},
    }


def class_table(answers: Answers, result: Bootstrap) -> list[dict[str, Any]]:
    """Return precision, recall and F1 of each label; a label without rows or answers has None where they are undefined."""
    rows = np.bincount(answers.actual, minlength=len(answers.labels))
    size = len(answers.labels)
    found = result.intervals("class_rates")
    rates = zip(found[:size], found[size : 2 * size], found[2 * size :], strict=True)
    return [
        {"label": label, "rows": int(count), "precision": precision.report(), "recall": recall.report(), "f1": f1.report()}
        for label, count, (precision, recall, f1) in zip(answers.labels, rows, rates, strict=True)
    ]


def slice_table(slices: Sequence[Slice], result: Bootstrap, *, min_rows: int) -> list[dict[str, Any]]:
    """Return accuracy and macro F1 of each slice; one with fewer than `min_rows` rows is "insufficient" and has no figures."""
    figures = zip(slices, result.intervals("slice_accuracy"), result.intervals("slice_macro_f1"), strict=True)
    return [
        {"by": part.by, "slice": part.name, "rows": part.rows}
        | (
            {"outcome": "ok", "accuracy": accuracy.report(), "macro_f1": macro_f1.report()}
            if part.rows >= min_rows
            else {"outcome": "insufficient", "accuracy": None, "macro_f1": None}
        )
        for part, accuracy, macro_f1 in figures
    ]


def reliability_table(answers: Answers, result: Bootstrap, *, bins: int) -> list[dict[str, Any]]:
    """Return confidence and accuracy of each equal-width bin of confidence that has rows."""
    code = metrics.bin_codes(answers.confidence, bins)
    accuracies = result.intervals("bin_accuracy")
    return [
        {
            "low_edge": round(number / bins, 6),
            "high_edge": round((number + 1) / bins, 6),
            "confidence": round(float(answers.confidence[code == number].mean()), 6),
            "accuracy": accuracies[number].report(),
            "rows": int((code == number).sum()),
        }
        for number in np.unique(code).tolist()
    ]


def confusion(answers: Answers) -> dict[str, Any]:
    """Return how often each label (row) was given each answer (column)."""
    size = len(answers.labels)
    counts = np.bincount(answers.actual * size + answers.predicted, minlength=size * size).reshape(size, size)
    return {"labels": list(answers.labels), "counts": counts.tolist()}


def predictions(test: pd.DataFrame, answers: Answers, *, version: str) -> pd.DataFrame:
    """Return the test rows with prediction, confidence, probabilities (list, label order), answered and model_version."""
    return test.assign(
        prediction=np.array(answers.labels, object)[answers.predicted],
        confidence=answers.confidence,
        probabilities=list(answers.probabilities),
        answered=answers.answered,
        model_version=version,
    )


def plain(actual_N: Integers, predicted_N: Integers, *, classes: int) -> dict[str, float]:
    """Return accuracy and macro F1 without intervals."""
    rates = metrics.class_rates(actual_N, predicted_N, classes=classes)
    return {"accuracy": round(float(metrics.accuracy(actual_N, predicted_N)), 6), "macro_f1": round(float(rates.macro_f1), 6)}


def doubling(result: Bootstrap) -> dict[str, Any]:
    """Return what the baseline gains when its train rows double from half to all: the price that more rows would fetch."""
    return {name: result.lead(f"baseline_{name}", f"half_{name}").report() for name in _COMPARED}


_COMPARED = ("accuracy", "macro_f1")
_OVERALL = ("accuracy", "macro_f1", "log_loss", "ece", "baseline_accuracy", "baseline_macro_f1", "coverage", "accuracy_answered")


def _overall(answers: Answers, *, bins: int) -> dict[str, Statistic]:
    correct_N = answers.predicted == answers.actual
    of_actual_N = metrics.probability_of_actual(answers.probabilities, answers.actual)
    answered_N = answers.answered.astype(np.float64)

    def accuracy_answered(weights: Floats) -> Floats:
        return metrics.ratio(weights @ (answered_N * correct_N), weights @ answered_N)

    compared = {"": answers.predicted, "baseline_": answers.baseline, "half_": answers.half_baseline}
    statistics: dict[str, Statistic] = {}
    for prefix, predicted_N in compared.items():
        statistics[f"{prefix}accuracy"] = _accuracy(answers.actual, predicted_N)
        statistics[f"{prefix}macro_f1"] = _macro_f1(answers.actual, predicted_N, len(answers.labels))
    return statistics | {
        "log_loss": lambda weights: metrics.log_loss(of_actual_N, weights),
        "ece": lambda weights: metrics.calibration_error(answers.confidence, correct_N, bins=bins, weights=weights),
        "coverage": lambda weights: metrics.weighted_mean(answered_N, weights),
        "accuracy_answered": accuracy_answered,
    }


def _by_class(answers: Answers) -> dict[str, Statistic]:
    counter = metrics.class_counter(answers.actual, answers.predicted, classes=len(answers.labels))

    def rates(weights: Floats) -> Floats:
        found = counter(weights).rates
        return np.concatenate([found.precision, found.recall, found.f1], axis=-1)

    return {"class_rates": rates}


def _by_slice(answers: Answers, slices: Sequence[Slice]) -> dict[str, Statistic]:
    places = [np.flatnonzero(part.mask) for part in slices]
    size = len(answers.labels)
    accuracies = [_accuracy(answers.actual[rows], answers.predicted[rows]) for rows in places]
    scores = [_macro_f1(answers.actual[rows], answers.predicted[rows], size) for rows in places]

    def each(statistics: list[Statistic]) -> Statistic:
        return lambda weights: np.stack([measure(weights[:, rows]) for measure, rows in zip(statistics, places, strict=True)], axis=1)

    return {"slice_accuracy": each(accuracies), "slice_macro_f1": each(scores)}


def _by_bin(answers: Answers, *, bins: int) -> dict[str, Statistic]:
    correct_N = answers.predicted == answers.actual
    bin_NM = metrics.indicator(metrics.bin_codes(answers.confidence, bins), bins)
    return {"bin_accuracy": lambda weights: metrics.ratio((weights * correct_N) @ bin_NM, weights @ bin_NM)}


def _accuracy(actual_N: Integers, predicted_N: Integers) -> Statistic:
    return lambda weights: metrics.accuracy(actual_N, predicted_N, weights)


def _macro_f1(actual_N: Integers, predicted_N: Integers, classes: int) -> Statistic:
    counter = metrics.class_counter(actual_N, predicted_N, classes=classes)
    return lambda weights: counter(weights).rates.macro_f1
