"""How far the model's confidence can be believed, and from which confidence on it answers by itself.

Both are fitted on the calibration split alone. The validation split would double the rows, but where training keeps its best
epoch, that is the one that did best on it: the model looks a little surer and righter there than it is. The test split judges the outcome
(`evaluate`), so neither figure here has been chosen on the rows that it is shown for in the dossier.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from evergreen.errors import EvidenceError
from evergreen.evaluation.metrics import calibration_error, log_loss, probability_of_actual
from evergreen.model.inference import softmax

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

TEMPERATURES = (0.05, 20.0)
PRIOR_SPREAD = 1.0  # standard deviation of ln(temperature) expected before seeing data: most lie between 1/e and e
MIN_ANSWERED = 20  # calibration rows that an accuracy among the answered must rest on
STEPS = 100  # thresholds of the curve


@dataclass(frozen=True)
class Threshold:
    """A confidence, and what answering from there on gives: share of rows answered, accuracy among them (0-1)."""

    threshold: float
    coverage: float
    accuracy: float

    def report(self) -> dict[str, float]:
        """Return the threshold as reports hold it; an accuracy among no rows is null there."""
        return {"threshold": self.threshold, "coverage": round(self.coverage, 6), "accuracy": round(self.accuracy, 6)}


def calibrate(
    logits_NC: NDArray[Any], actual_N: Integers, *, bins: int, target_accuracy: float, min_coverage: float
) -> tuple[float, Threshold, dict[str, Any]]:
    """Return temperature, threshold and the report of the calibrate stage.

    `actual_N` are positions in the logits' order, -1 for a label that the model does not know (always wrong, and left
    out of every log loss). Raises EvidenceError without rows.
    """
    if len(actual_N) == 0:
        raise EvidenceError("the calibration split has no rows; raise split.fractions.calibration in params.yaml")
    temperature = round(fit_temperature(logits_NC, actual_N), 6)
    before, after = (_figures(logits_NC, actual_N, temperature=value, bins=bins) for value in (1.0, temperature))
    confidence_N, correct_N = answers(logits_NC, actual_N, temperature=temperature)
    chosen, reached = choose_threshold(confidence_N, correct_N, target_accuracy=target_accuracy, min_coverage=min_coverage)
    report = {
        "rows": len(actual_N),
        "temperature": temperature,
        "ece_before": before[0],
        "ece_after": after[0],
        "log_loss_before": before[1],
        "log_loss_after": after[1],
        "threshold": chosen.threshold,
        "coverage": round(chosen.coverage, 6),
        "accuracy_answered": round(chosen.accuracy, 6),
        "target_accuracy": target_accuracy,
        "reached": reached,
        "curve": [at_threshold(confidence_N, correct_N, step / STEPS).report() for step in range(STEPS)],
    }
    return temperature, chosen, report


def fit_temperature(logits_NC: NDArray[Any], actual_N: Integers) -> float:
    """Return the temperature T with the lowest log loss of softmax(logits / T); above 1 the model was too sure of itself.

    Minimised is n * log loss + (ln T)^2 / (2 * PRIOR_SPREAD^2): a weak prior, worth about one row, without which a small
    split that the model happens to answer without a mistake would ask for T = 0, that is for certainty. It fades as rows
    come in. Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    rows_N = np.flatnonzero(actual_N >= 0)

    def cost(log_temperature: float) -> float:
        loss = log_loss(probability_of_actual(softmax(logits_NC[rows_N], float(np.exp(log_temperature))), actual_N[rows_N]))
        return float(loss) * len(rows_N) + log_temperature**2 / (2 * PRIOR_SPREAD**2)

    if len(rows_N) == 0:
        return 1.0
    low, high = np.log(TEMPERATURES)
    return float(np.exp(minimize_scalar(cost, bounds=(low, high), method="bounded", options={"xatol": 1e-7}).x))


def choose_threshold(
    confidence_N: Floats, correct_N: NDArray[np.bool_], *, target_accuracy: float, min_coverage: float
) -> tuple[Threshold, bool]:
    """Return the smallest threshold from which on the answers reach the target accuracy, and whether any does.

    Both witnesses must say so: the share of right answers seen, and the mean confidence stated (after the temperature).
    The first alone flatters: of many thresholds some reach the target by luck on few rows. Thresholds that would answer
    less than `min_coverage` of the rows, or fewer than MIN_ANSWERED of them, are not considered. Where none of the others
    reaches the target, the one at which the lesser of the two witnesses is highest is returned, of equals the one that
    answers most. A threshold of 0 answers everything.
    """
    order = np.argsort(-confidence_N, kind="stable")
    answered_N = np.arange(1, len(order) + 1)
    vouched_N = np.minimum(np.cumsum(correct_N[order]), np.cumsum(confidence_N[order])) / answered_N
    floored_N = np.floor(confidence_N[order] * 1e6) / 1e6  # as it is written down, and never above the row that it admits
    last_N = np.append(floored_N[1:] != floored_N[:-1], True)  # rows of equal confidence are answered together or not at all
    enough_N = answered_N >= max(min_coverage * len(order), min(MIN_ANSWERED, len(order)))
    places = np.flatnonzero(last_N & enough_N)
    reaching = places[vouched_N[places] >= target_accuracy]
    best = places[vouched_N[places] == vouched_N[places].max()]
    place = int((reaching if len(reaching) else best)[-1])
    threshold = 0.0 if place == len(order) - 1 else float(floored_N[place])
    return at_threshold(confidence_N, correct_N, threshold), len(reaching) > 0


def at_threshold(confidence_N: Floats, correct_N: NDArray[np.bool_], threshold: float) -> Threshold:
    """Return what answering from this confidence on gives; accuracy is NaN where nothing is answered."""
    answered_N = confidence_N >= threshold
    accuracy = float(correct_N[answered_N].mean()) if answered_N.any() else float("nan")
    return Threshold(threshold, float(answered_N.mean()), accuracy)


def answers(logits_NC: NDArray[Any], actual_N: Integers, *, temperature: float) -> tuple[Floats, NDArray[np.bool_]]:
    """Return each row's confidence (its highest probability) and whether its answer is right."""
    probabilities_NC = softmax(logits_NC, temperature)
    return probabilities_NC.max(axis=1), probabilities_NC.argmax(axis=1) == actual_N


def _figures(logits_NC: NDArray[Any], actual_N: Integers, *, temperature: float, bins: int) -> tuple[float, float]:
    error = calibration_error(*answers(logits_NC, actual_N, temperature=temperature), bins=bins)
    return round(float(error), 6), round(float(log_loss(probability_of_actual(softmax(logits_NC, temperature), actual_N))), 6)
