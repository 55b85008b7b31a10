"""A window of live traffic: from when to when, and the rows that it holds, as a table.

A window begins where the last one ended, or when the version went live, and ends now; while it holds too few answers it waits and
grows. The columns of the version's reference say what is looked at beside the texts. Knows nothing of drift tests, of decisions, or
of who looks when.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, Row, func, select

from evergreen.data.records import MISSING_GROUP
from evergreen.errors import MonitorError
from evergreen.monitoring.log.request_log import Window, answers, label_column, selected
from evergreen.monitoring.watch.history import window_id

PIECE = 500  # ids asked for in one statement


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose traffic is looked at: a version, and the digest of the reference that it is compared with."""

    model_version: str
    reference: str


@dataclass(frozen=True, slots=True)
class Span:
    """From `since` (included) to `until` (excluded), seconds since 1970; the `number`-th window of its subject."""

    since: float
    until: float
    number: int

    def id(self, subject: Subject) -> str:
        """Return the id of the window."""
        return window_id(model_version=subject.model_version, reference=subject.reference, since=self.since, until=self.until)


@dataclass(frozen=True)
class Traffic:
    """What a window holds: `table` has the rows looked at, oldest first, of `rows` answers in all, `labelled` of them.

    Columns: id, text, label (null where none was told), timestamp (UTC-naive), the reference's columns of groups and context that
    any caller told ("missing" where one did not), prediction, confidence, probabilities (in the model's order), model_version.
    """

    table: pd.DataFrame
    rows: int
    labelled: int


def span(
    *, live_since: float, judged_until: float | None, number: int, now: float, since: float | None = None, until: float | None = None
) -> Span:
    """Return the next window; `since` and `until` are a person's own bounds, None: from the last window's end until now.

    Raises MonitorError for a window without an inside, and for one that is not over yet.
    """
    start = since if since is not None else max(live_since, judged_until or live_since)
    end = until if until is not None else now
    if start >= end:
        raise MonitorError("the window is empty: its end does not lie after its beginning; give other bounds with --since and --until")
    if end > now:
        raise MonitorError("the window is not over yet: its end lies in the future; give another with --until")
    return Span(start, end, number)


def count(engine: Engine, window: Window) -> int:
    """Return how many answers a window holds."""
    with engine.connect() as connection:
        return int(connection.execute(selected(window, func.count())).scalar_one())


def read(engine: Engine, window: Window, *, labels: Sequence[str], columns: Sequence[str], most: int, seed: int) -> Traffic:
    """Return a window's answers as a table; of more than `most` rows a sample by the seed.

    `labels` is the order of the model's probabilities, `columns` the reference's columns of groups and context, prefix included.
    """
    with engine.connect() as connection:
        ordered = selected(window, answers.c.request_id).order_by(answers.c.time, answers.c.request_id)
        ids = connection.execute(ordered).scalars().all()
        chosen = _sample(ids, most, seed)
        rows = [row for start in range(0, len(chosen), PIECE) for row in _rows(connection, window, chosen[start : start + PIECE])]
    told = Window(window.since, window.until, window.version, window.roles, labelled=True)
    return Traffic(_table(rows, labels, columns), len(ids), count(engine, told))


def newest_labelled(engine: Engine, window: Window, *, labels: Sequence[str], columns: Sequence[str], most: int) -> pd.DataFrame:
    """Return a window's newest answers whose label was told, at most `most` of them, oldest first, as `read` has its table."""
    told = Window(window.since, window.until, window.version, window.roles, labelled=True)
    query = selected(told).order_by(answers.c.time.desc(), answers.c.request_id.desc()).limit(most)
    with engine.connect() as connection:
        return _table(list(reversed(connection.execute(query).all())), labels, columns)


def confidences(engine: Engine, window: Window, *, most: int) -> NDArray[np.float64]:
    """Return the model's confidence in a window's answers, newest first, of at most `most` of them."""
    query = selected(window, answers.c.confidence).order_by(answers.c.time.desc(), answers.c.request_id.desc()).limit(most)
    with engine.connect() as connection:
        return np.array(connection.execute(query).scalars().all(), np.float64)


def texts(engine: Engine, ids: Sequence[str]) -> dict[str, str]:
    """Return the texts of a few answers by their ids; those that the log no longer holds are missing."""
    with engine.connect() as connection:
        return {row.request_id: row.text for row in connection.execute(select(answers).where(answers.c.request_id.in_(ids)))}


def live_version(engine: Engine) -> tuple[str, float] | None:
    """Return which version answered as champion last, and when it first did; None where nobody has.

    For a service whose pointer lies on another machine: the request log knows it, too.
    """
    of_champion = answers.c.role == "champion"
    with engine.connect() as connection:
        newest = select(answers.c.model_version).where(of_champion).order_by(answers.c.time.desc()).limit(1)
        version = connection.execute(newest).scalar()
        if version is None:
            return None
        first = select(func.min(answers.c.time)).where(of_champion, answers.c.model_version == version)
        return version, float(connection.execute(first).scalar_one())


def _sample(ids: Sequence[str], most: int, seed: int) -> list[str]:
    if len(ids) <= most:
        return list(ids)
    chosen = np.random.default_rng(seed).choice(len(ids), size=most, replace=False)
    return [ids[place] for place in np.sort(chosen)]


def _rows(connection: Connection, window: Window, ids: Sequence[str]) -> Sequence[Row[Any]]:
    query = selected(window, answers, label_column()).where(answers.c.request_id.in_(ids))
    return connection.execute(query.order_by(answers.c.time, answers.c.request_id)).all()


def _table(rows: Sequence[Row[Any]], labels: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    if unknown := {label for row in rows for label in row.probabilities} - set(labels):
        raise MonitorError(f"the log's answers speak of labels that the reference does not know ({', '.join(sorted(unknown))})")
    told = {column: [row.groups.get(column.partition("_")[2], MISSING_GROUP) for row in rows] for column in columns}
    content = {
        "id": [row.request_id for row in rows],
        "text": [row.text for row in rows],
        "label": pd.Series([row.label for row in rows], dtype="object"),
        "timestamp": pd.to_datetime([row.time for row in rows], unit="s"),
        **{column: values for column, values in told.items() if {*values} - {MISSING_GROUP}},
        "prediction": [row.prediction for row in rows],
        "confidence": np.array([row.confidence for row in rows], np.float64),
        "probabilities": [np.array([row.probabilities.get(label) or 0.0 for label in labels]) for row in rows],
        "model_version": [row.model_version for row in rows],
    }
    return pd.DataFrame(content)
