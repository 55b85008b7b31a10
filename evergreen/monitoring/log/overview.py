"""What the request log holds, in numbers. Knows nothing of how they are shown."""

from dataclasses import dataclass

from sqlalchemy import Engine, case, func, select

from evergreen.monitoring.log.request_log import answers, feedback
from evergreen.monitoring.log.retention import rows_and_bytes


@dataclass(frozen=True, slots=True)
class Part:
    """The answers of one version in one role."""

    version: str
    role: str
    rows: int
    labelled: int
    for_a_person: int
    first: float  # seconds since 1970
    last: float


@dataclass(frozen=True, slots=True)
class Overview:
    """All of the log: `parts` by when they began; `labels` counts every label told, corrections too."""

    rows: int
    bytes: int
    labels: int
    parts: tuple[Part, ...]


def overview(engine: Engine) -> Overview:
    """Count what the log holds."""
    told = select(feedback.c.feedback_id).where(feedback.c.request_id == answers.c.request_id).exists()
    first = func.min(answers.c.time)
    query = select(
        answers.c.model_version,
        answers.c.role,
        func.count(),
        func.sum(case((told, 1), else_=0)),
        func.sum(case((answers.c.needs_person, 1), else_=0)),
        first,
        func.max(answers.c.time),
    )
    with engine.connect() as connection:
        found = connection.execute(query.group_by(answers.c.model_version, answers.c.role).order_by(first))
        parts = tuple(Part(*row) for row in found)
        labels = connection.execute(select(func.count()).select_from(feedback)).scalar_one()
    rows, size = rows_and_bytes(engine)
    return Overview(rows, size, labels, parts)
