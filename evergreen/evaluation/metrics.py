"""What is counted: figures of a classifier's answers, each for one weighting of the rows or for many at once.

Labels are codes 0 to C - 1. `weights` is None (every row once), (n,) or (B, n); the result has the shape of `weights`
without its last axis, then the figure's own axes. A figure that is not defined for a weighting is NaN, never 0: whoever
reads 0 takes it for a bad answer where there was no question.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

SMALLEST_PROBABILITY = 1e-12  # a label given probability 0 costs 27.6 nats, not infinitely many


@dataclass(frozen=True)
class ClassRates:
    """Precision, recall and F1 of each class, each of shape (..., C)."""

    precision: Floats
    recall: Floats
    f1: Floats

    @property
    def macro_f1(self) -> Floats:
        """Mean F1 of the classes that have one: 0 to 1, perfect is 1; every class counts alike, rare or frequent.

        A class that is neither present nor answered under a weighting has no F1 and is left out of that mean, as
        scikit-learn's `f1_score(average="macro")` does.
        """
        return _mean_of_defined(self.f1)


@dataclass(frozen=True)
class ClassCounts:
    """Weights of right answers, rows and answers of each class, each of shape (..., C)."""

    right: Floats
    rows: Floats
    answers: Floats

    @property
    def rates(self) -> ClassRates:
        """Precision, recall and F1; see `class_rates`."""
        f1 = ratio(2 * self.right, self.answers + self.rows)
        return ClassRates(precision=ratio(self.right, self.answers), recall=ratio(self.right, self.rows), f1=f1)


def accuracy(actual_N: Integers, predicted_N: Integers, weights: Floats | None = None) -> Floats:
    """Return the share of rows whose answer is their label: 0 to 1, perfect is 1. NaN without rows."""
    return weighted_mean((actual_N == predicted_N).astype(np.float64), weights)


def class_rates(actual_N: Integers, predicted_N: Integers, *, classes: int, weights: Floats | None = None) -> ClassRates:
    """Return precision, recall and F1 of each class: 0 to 1, perfect is 1.

    precision = right answers / answers of the class, NaN where it was never answered.
    recall = right answers / rows of the class, NaN where it has no rows.
    F1 = 2 right answers / (answers + rows of the class): their harmonic mean where both are above 0, 0 for a class that
    is there and never found, NaN where there are neither rows nor answers.
    Source: van Rijsbergen, Information Retrieval (1979), chapter 7; scikit-learn `precision_recall_fscore_support`.
    """
    return class_counter(actual_N, predicted_N, classes=classes)(row_weights(weights, len(actual_N))).rates


def class_counter(actual_N: Integers, predicted_N: Integers, *, classes: int) -> Callable[[Floats], ClassCounts]:
    """Return a function from weights to counts, for those who weigh the same rows many times."""
    right_NC = indicator(np.where(actual_N == predicted_N, actual_N, -1), classes)
    actual_NC, predicted_NC = indicator(actual_N, classes), indicator(predicted_N, classes)
    return lambda weights: ClassCounts(weights @ right_NC, weights @ actual_NC, weights @ predicted_NC)


def log_loss(of_actual_N: Floats, weights: Floats | None = None) -> Floats:
    """Return the mean of -ln(probability given to the row's own label), in nats: 0 and up, perfect is 0.

    Rows whose label the model does not know (NaN) are left out: no model can give them a probability. Guessing all of C
    labels alike gives ln C. Source: Good, Rational Decisions (1952); scikit-learn `log_loss`.
    """
    known_N = np.isfinite(of_actual_N)
    nats_N = -np.log(np.clip(np.where(known_N, of_actual_N, 1.0), SMALLEST_PROBABILITY, 1.0))
    weights = row_weights(weights, len(of_actual_N))
    return ratio(weights @ nats_N, weights @ known_N.astype(np.float64))


def probability_of_actual(probabilities_NC: Floats, actual_N: Integers) -> Floats:
    """Return the probability given to each row's own label (n,), NaN for a code that the model does not know (-1, or C and up)."""
    known_N = (actual_N >= 0) & (actual_N < probabilities_NC.shape[1])
    of_actual_N = probabilities_NC[np.arange(len(actual_N)), np.where(known_N, actual_N, 0)]
    return np.asarray(np.where(known_N, of_actual_N, np.nan))


def calibration_error(confidence_N: Floats, correct_N: NDArray[np.bool_], *, bins: int, weights: Floats | None = None) -> Floats:
    """Return the expected calibration error (ECE) over equal-width bins of confidence: 0 to 1, perfect is 0.

    ECE = sum over bins of (share of the rows in the bin) * |accuracy - mean confidence in the bin|. NaN without rows. Chance
    alone makes it larger than 0 on few rows, so it is biased upwards, and its bootstrap even more.
    Source: Naeini, Cooper and Hauskrecht, AAAI 2015; Guo et al., ICML 2017.
    """
    weights = row_weights(weights, len(confidence_N))
    surplus_BM = (weights * (correct_N - confidence_N)) @ indicator(bin_codes(confidence_N, bins), bins)
    return ratio(np.abs(surplus_BM).sum(axis=-1), weights.sum(axis=-1))


def bin_codes(confidence_N: Floats, bins: int) -> Integers:
    """Return the equal-width bin (n,) of each confidence: bin m holds [m / bins, (m + 1) / bins), the last one also 1."""
    return np.asarray(np.minimum((confidence_N * bins).astype(np.int64), bins - 1))


def weighted_mean(values_N: Floats, weights: Floats | None = None) -> Floats:
    """Return the weighted mean of the values; NaN where the weights sum to 0."""
    weights = row_weights(weights, len(values_N))
    return ratio(weights @ values_N, weights.sum(axis=-1))


def ratio(above: Floats, below: Floats) -> Floats:
    """Return above / below, NaN where below is 0."""
    above, below = np.asarray(above, np.float64), np.asarray(below, np.float64)
    undefined = np.full(np.broadcast(above, below).shape, np.nan)
    return np.asarray(np.divide(above, below, out=undefined, where=below != 0))


def label_codes(labels: Sequence[str], known: Sequence[str]) -> Integers:
    """Return the position (n,) of each label among the known ones, -1 for a label that is not among them."""
    codes = {label: code for code, label in enumerate(known)}
    return np.array([codes.get(label, -1) for label in labels], np.int64)


def indicator(codes_N: Integers, classes: int) -> Any:
    """Return a sparse matrix (n, classes) with a 1 where the column is the row's code; a row of code -1 is empty."""
    rows_R = np.flatnonzero(codes_N >= 0)
    return csr_array((np.ones(len(rows_R)), (rows_R, codes_N[rows_R])), shape=(len(codes_N), classes))


def row_weights(weights: Floats | None, rows: int) -> Floats:
    """Return the weights, every row once where none are given."""
    return np.ones(rows) if weights is None else weights


def _mean_of_defined(values_KC: Floats) -> Floats:
    defined_KC = np.isfinite(values_KC)
    return ratio(np.where(defined_KC, values_KC, 0.0).sum(axis=-1), defined_KC.sum(axis=-1).astype(np.float64))
