"""From what a model says of a text to the row that is kept of it, and from the row to what its caller gets to see."""

from evergreen.monitoring.log.records import Answered, Role
from serving.api.exchange import Prediction
from serving.model.backend import About, Judged


def record(
    said: Judged, about: About, *, request_id: str, role: Role, now: float, key_id: str, seconds: float, groups: dict[str, str]
) -> Answered:
    """Return the row of one text; a confidence at the threshold is answered by the model itself."""
    confidence = max(said.probabilities)
    if not 0 <= confidence <= 1:
        raise ArithmeticError(f"version {about.version} gave a confidence that is no probability")
    return Answered(
        request_id=request_id,
        role=role,
        time=now,
        key_id=key_id,
        model_version=about.version,
        text=said.text,
        prediction=about.labels[said.probabilities.index(confidence)],
        probabilities=dict(zip(about.labels, said.probabilities, strict=True)),
        confidence=confidence,
        needs_person=confidence < about.threshold,
        latency_ms=1000 * seconds,
        groups=groups,
    )


def prediction(row: Answered) -> Prediction:
    """Return what the caller gets to see of a row."""
    return Prediction(
        request_id=row.request_id,
        label=row.prediction,
        probabilities=row.probabilities,
        confidence=row.confidence,
        needs_person=row.needs_person,
        model_version=row.model_version,
    )
