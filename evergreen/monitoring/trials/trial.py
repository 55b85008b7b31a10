"""Which trial is on record, and its rows: champion and challenger as the request log holds them, one after another.

In shadow both have judged the same requests, joined by their id; in a canary each has its own. Knows nothing of statistics.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, and_, func, select

from evergreen.errors import LogError
from evergreen.monitoring.log.request_log import READ_ROWS, answers, label_column
from evergreen.wording import counted

Mode = Literal["shadow", "canary"]
FIGURES = ("prediction", "confidence", "needs_person", "latency_ms", "key_id")


@dataclass(frozen=True, slots=True)
class Trial:
    """Two versions beside each other; `start` and `end` are seconds since 1970, both included."""

    mode: Mode
    champion: str
    challenger: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Row:
    """What a comparison needs of an answer; `label` is the right one as told last, None while nobody has."""

    prediction: str
    confidence: float
    needs_person: bool
    latency_ms: float
    key_id: str
    label: str | None


def find_trial(
    connection: Connection,
    *,
    since: float | None = None,
    mode: Mode | None = None,
    challenger: str | None = None,
    champion: str | None = None,
) -> Trial:
    """Return the newest trial on record, or the newest that fits; raise LogError where there is none.

    Its champion is the version that answered beside the challenger last: a trial goes on while champions change, a
    comparison does not.
    """
    fits: list[Any] = [answers.c.role.in_((mode,) if mode else ("shadow", "canary"))]
    fits += [answers.c.time >= since] if since is not None else []
    fits += [answers.c.model_version == challenger] if challenger else []
    newest = connection.execute(
        select(answers.c.role, answers.c.model_version).where(*fits).order_by(answers.c.time.desc()).limit(1)
    ).first()
    if newest is None:
        raise LogError(_none_found(connection, since, mode, challenger))
    found: Mode = newest.role
    own = and_(*fits, answers.c.role == found, answers.c.model_version == newest.model_version)
    start, end = connection.execute(select(func.min(answers.c.time), func.max(answers.c.time)).where(own)).one()
    beside = and_(answers.c.role == "champion", answers.c.time >= start, answers.c.time <= end)
    if champion is None:
        champion = connection.execute(select(answers.c.model_version).where(beside).order_by(answers.c.time.desc()).limit(1)).scalar()
    first = connection.execute(select(func.min(answers.c.time)).where(beside, answers.c.model_version == champion)).scalar()
    if champion is None or first is None:
        who = f"champion {champion}" if champion else "no champion"
        raise LogError(
            f"{who} has answered beside the challenger {newest.model_version} on record; without one there is nothing to compare"
        )
    return Trial(found, champion, newest.model_version, start if found == "shadow" else max(start, first), end)


def _none_found(connection: Connection, since: float | None, mode: Mode | None, challenger: str | None) -> str:
    what = f"answer of a challenger{f' {challenger}' if challenger else ''}{f' in {mode}' if mode else ''}"
    when = " since then" if since is not None else ""
    seen = connection.execute(select(func.count()).select_from(answers)).scalar_one()
    return (
        f"the request log holds no {what}{when} ({counted(seen, 'answer')} in all); "
        "start a trial with `evergreen shadow BENTO` or `evergreen canary BENTO --share 0.1`"
    )


def pairs(connection: Connection, trial: Trial) -> Iterator[tuple[Row, Row]]:
    """Return (champion's, challenger's) answer to each request of a trial in shadow, without holding all of them."""
    other = answers.alias("champion")
    query = (
        select(*(other.c[name].label(f"champion_{name}") for name in FIGURES), *(answers.c[name] for name in FIGURES), label_column())
        .join(other, and_(other.c.request_id == answers.c.request_id, other.c.role == "champion"))
        .where(other.c.model_version == trial.champion, *_of(trial.challenger, "shadow", trial))
    )
    for row in _streamed(connection, query):
        yield _row(row[: len(FIGURES)], row.label), _row(row[len(FIGURES) :], row.label)


def arm(connection: Connection, trial: Trial, *, challenger: bool) -> Iterator[Row]:
    """Return the answers that callers got from one of a trial's versions, without holding all of them."""
    whose = (trial.challenger, "canary") if challenger else (trial.champion, "champion")
    query = select(*(answers.c[name] for name in FIGURES), label_column()).where(*_of(*whose, trial))
    for row in _streamed(connection, query):
        yield _row(row, row.label)


def others(connection: Connection, trial: Trial) -> int:
    """Return how many answers callers got during the trial from a version that is neither of the two."""
    versions = (trial.champion, trial.challenger)
    outside = and_(answers.c.time >= trial.start, answers.c.time <= trial.end, answers.c.model_version.not_in(versions))
    return connection.execute(select(func.count()).select_from(answers).where(outside, answers.c.role != "shadow")).scalar_one()


def told(connection: Connection, trial: Trial) -> int:
    """Return how many answers the champion gave during the trial, judged by the challenger or not."""
    return connection.execute(select(func.count()).select_from(answers).where(*_of(trial.champion, "champion", trial))).scalar_one()


def asked(connection: Connection, since: float) -> int:
    """Return how many answers callers got since a moment, whoever gave them."""
    return connection.execute(
        select(func.count()).select_from(answers).where(answers.c.time >= since, answers.c.role != "shadow")
    ).scalar_one()


def _of(version: str, role: str, trial: Trial) -> list[Any]:
    return [answers.c.model_version == version, answers.c.role == role, answers.c.time >= trial.start, answers.c.time <= trial.end]


def _streamed(connection: Connection, query: Any) -> Iterator[Any]:
    with connection.execution_options(stream_results=True, yield_per=READ_ROWS).execute(query) as rows:
        yield from rows


def _row(values: Any, label: str | None) -> Row:
    prediction, confidence, needs_person, latency_ms, key_id = values[: len(FIGURES)]
    return Row(prediction, confidence, needs_person, latency_ms, key_id, label)
