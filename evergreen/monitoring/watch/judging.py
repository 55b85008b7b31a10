"""A window of the request log, judged: its rows read, seen through the live model, compared with the reference, told as facts.

Knows the request log and the history, and nothing of which window is next, of decisions, or of where anything is shown.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Engine

from evergreen.drift.reference import Reference
from evergreen.drift.rows import Seen, distinct, look
from evergreen.model.inference import Classifier
from evergreen.monitoring.log.request_log import Window
from evergreen.monitoring.watch import history, window
from evergreen.monitoring.watch.facts import facts, names
from evergreen.monitoring.watch.labelling import batch
from evergreen.monitoring.watch.quality import NEWEST, quality
from evergreen.monitoring.watch.seen_files import keep, kept
from evergreen.monitoring.watch.window import Span, Subject, Traffic
from evergreen.sections.loop import Monitor

MOST_CONFIDENCES = 20_000  # answers that labelled ones are weighed against, the newest


@dataclass(frozen=True)
class Judgement:
    """The facts of a window, and what they were found in: its distinct texts `table`, as they were `seen`."""

    facts: dict[str, Any]
    table: pd.DataFrame
    seen: Seen


def judge_window(
    engine: Engine,
    subject: Subject,
    span: Span,
    *,
    reference: Reference,
    model: Classifier,
    settings: Monitor,
    copies: Path | None = None,
) -> Judgement:
    """Judge a window, together with the windows just before it for drift that comes slowly.

    `copies` is a folder for what was seen of windows, so that those before need not be seen through the model again.
    """
    times = (span.since, span.until)
    traffic, table, seen = _rows(engine, subject, times, reference, model, settings)
    before = history.read(engine, model_version=subject.model_version, reference=subject.reference, last=max(1, settings.pooled - 1))
    late = [_late(engine, subject, one) for one in before]
    earlier = [_earlier(engine, subject, one, more, reference, model, settings, copies) for one, more in zip(before, late, strict=True)]
    if copies is not None:
        keep(seen, _copy(copies, span.id(subject), 0), most=settings.pooled)
    measured = measure(engine, subject.model_version, span.until, reference)
    found = facts(
        subject, span, traffic, table=table, seen=seen, earlier=earlier, reference=reference, quality=measured,
        late=late[-1] if late else 0, settings=settings,
    )  # fmt: skip
    return Judgement(found, table, seen)


def measure(engine: Engine, model_version: str, until: float, reference: Reference) -> dict[str, Any] | None:
    """Return the quality of a version by the labels told so far, over its newest labelled answers before `until`; None of too few."""
    whole = Window(None, until, model_version)
    told = {"labels": reference.labels, "columns": reference.categories}
    labelled = window.newest_labelled(engine, whole, most=NEWEST, **told)
    if labelled.empty:
        return None
    since = replace(whole, since=float(labelled["timestamp"].iloc[0].timestamp()))
    of_all = window.confidences(engine, since, most=MOST_CONFIDENCES)
    at_snapshot = names(reference.rows, reference).assign(label=reference.truth)
    return quality(labelled, at_snapshot, confidence_of_all=of_all)


def worth_labelling(judgement: Judgement, reference: Reference, *, most: int, seed: int) -> pd.DataFrame:
    """Return the rows of a judged window that are worth a label, the most telling first, and some drawn at random."""
    arrays = {"probabilities": judgement.seen.probabilities, "embeddings": judgement.seen.embeddings}
    return batch(judgement.table, **arrays, reference=reference.rows.embeddings, most=most, seed=seed)


def _late(engine: Engine, subject: Subject, one: dict[str, Any]) -> int:
    """Return how many answers of a judged window reached the log after it was judged; those deleted since hide as many."""
    return max(0, window.count(engine, Window(one["since"], one["until"], subject.model_version)) - int(one["rows"]))


def _earlier(
    engine: Engine,
    subject: Subject,
    one: dict[str, Any],
    late: int,
    reference: Reference,
    model: Classifier,
    settings: Monitor,
    copies: Path | None,
) -> Seen:
    """Return what was seen of a window before, at most its share of the rows that are looked at together."""
    place = _copy(copies, one["id"], late) if copies is not None else None
    found = kept(place, reference.categories) if place is not None else None
    if found is None:
        seen = _rows(engine, subject, (one["since"], one["until"]), reference, model, settings)[2]
        if place is not None:
            keep(seen, place, most=settings.pooled)
    else:
        seen = found
    most = max(1, settings.max_rows // settings.pooled)
    if len(seen) <= most:
        return seen
    return seen.take(np.sort(np.random.default_rng(settings.seed).choice(len(seen), size=most, replace=False)))


def _copy(folder: Path, window_id: str, late: int) -> Path:
    """Return the place of what was seen of a window; answers that came in late make another one of it."""
    return folder / (f"{window_id}-{late}-late.parquet" if late else f"{window_id}.parquet")


def _rows(
    engine: Engine, subject: Subject, times: tuple[float, float], reference: Reference, model: Classifier, settings: Monitor
) -> tuple[Traffic, pd.DataFrame, Seen]:
    asked = Window(*times, subject.model_version)
    columns, most = reference.categories, settings.max_rows
    traffic = window.read(engine, asked, labels=reference.labels, columns=columns, most=most, seed=settings.seed)
    table = distinct(traffic.table)
    return traffic, table, look(table, model, reference.train, columns)
