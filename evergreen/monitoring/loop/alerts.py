"""Alerts: that a retraining is wanted, each a row, whoever says so and however often. Exactly-once begins here.

    raise_alert(engine, source=..., trigger=..., because=..., ...) -> (Alert, whether it is new)
    due(engine) -> Alert | None        the one to send on its way now (to Prefect), marked as sent; others open are taken along with it
    standing(engine) -> Standing       starts, running, open alert: what policy.Situation wants to know of the loop
    find(engine, id) · listed(engine, states=...) -> alerts, newest first
    close(engine, alert, "who: why") -> Alert | None    None: it was no longer open
    untold(engine, "given up") · told(engine, alert)    what people are to be told still, until they have been

States: open -> taken (a retraining has claimed it, slot.py) -> done; back to open when that retraining crashed or failed, for
MAX_TRIES times, then `given up`. `stale`: the model it was about is no longer live. `closed`: on a person's word, for good.

An alert that comes while a retraining of the same model runs is taken by it; a late one, that tells of a time before the end of a
retraining whose cooldown still lasts, was answered by it. Doubles are the same row. A row that is done or given up opens again where it
is told of a time after its retraining and that one's cooldown, a stale one wherever it is told again: nothing has answered it, and
whether its model is live again a claim knows. Times of other clocks are never believed to lie in the future.
Knows nothing of Prefect, and nothing of who listens.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

from sqlalchemy import Connection, Engine, Row, case, delete, func, select, update

from evergreen.monitoring.log.request_log import storable
from evergreen.monitoring.loop.loop_tables import alerts, alone, clock, retrainings

State = Literal["open", "taken", "done", "stale", "given up", "closed"]
Source = Literal["monitor", "schedule", "person", "http", "event"]
News = Literal["wanted", "given up"]
VOID = ("crashed", "stopped")  # retrainings that came to no end of their own
MAX_TRIES = 5
RESEND_SECONDS = 60.0  # after which an alert that nobody has claimed is sent again; then twice as long, and so on up to
RESEND_MOST = 900.0
MOST_WORDS = 2000  # characters kept of a reason


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as it is on record; times in seconds since 1970."""

    id: str
    source: str
    trigger: str
    model_version: str | None
    reference: str | None
    window: str | None
    time: float
    raised: float
    because: str
    facts: dict[str, Any]
    told: int
    state: State
    retraining: str | None
    tries: int
    not_before: float
    emitted: float | None
    emissions: int
    closed: float | None
    news: News | None
    closing: str | None


@dataclass(frozen=True, slots=True)
class Standing:
    """How the loop stands: what a decision needs to know of retrainings and alerts."""

    starts: tuple[float, ...] = ()
    running: str | None = None
    open_alert: str | None = None


def raise_alert(
    engine: Engine,
    *,
    source: Source,
    trigger: str,
    because: str,
    model_version: str | None = None,
    reference: str | None = None,
    window: str | None = None,
    key: str | None = None,
    time: float | None = None,
    lasting: bool = False,
    facts: Mapping[str, Any] | None = None,
    now: float | None = None,
) -> tuple[Alert, bool]:
    """Put an alert on record; return it, and whether it is new. The same source, trigger, version, reference, window and key are one.

    `time`: when what it tells of happened, or began; None: now, the first time. `lasting`: it is told of because it still is so.
    `now`: the database's clock where it is None.
    """
    alert_id = id_of(source=source, trigger=trigger, model_version=model_version, reference=reference, window=window, key=key)

    def work(connection: Connection) -> tuple[Alert, bool]:
        moment = clock(connection) if now is None else now
        happened = min(time if time is not None else moment, moment)
        closed = case((alerts.c.state == "closed", moment), else_=alerts.c.closed)  # anew: what is still told is not forgotten
        counted = update(alerts).where(alerts.c.id == alert_id).values(told=alerts.c.told + 1, closed=closed)
        known = connection.execute(counted.returning(*alerts.c)).first()
        if known:
            again = moment if lasting else happened if time is not None else known.time
            return _alert(_opened_again(connection, known, again, moment) or known), False
        row = {
            "id": alert_id,
            "source": source,
            "trigger": storable(trigger),
            "model_version": _kept(model_version),
            "reference": _kept(reference),
            "window": _kept(window),
            "time": happened,
            "raised": moment,
            "because": storable(because[:MOST_WORDS]),
            "facts": dict(facts or {}),
            "told": 1,
            "tries": 0,
            "emitted": None,
            "emissions": 0,
            "news": "wanted",
            **_place(connection, model_version, happened, moment),
        }
        return _alert(connection.execute(alerts.insert().values(row).returning(*alerts.c)).one()), True

    return alone(engine, work)


def id_of(*, source: Source, trigger: str, model_version: str | None, reference: str | None, window: str | None, key: str | None) -> str:
    """Return the id of an alert: what makes it this one and no other."""
    about = [source, trigger, model_version, reference, window, key]
    return sha256(json.dumps(about).encode()).hexdigest()[:16]


def _opened_again(connection: Connection, known: Row[Any], happened: float, now: float) -> Row[Any] | None:
    """Open an alert that was stale, or closed by a retraining and told of a time after that and after the cooldown; else return None."""
    if known.state == "stale":  # people were told of it already
        again = {"time": happened, "emitted": None, **_place(connection, known.model_version, happened, now)}
        return connection.execute(update(alerts).where(alerts.c.id == known.id).values(again).returning(*alerts.c)).one()
    if known.state not in ("done", "given up"):
        return None
    answered = connection.execute(select(retrainings.c.cooled).where(retrainings.c.id == known.retraining)).scalar()
    if happened <= max(known.closed, answered or known.closed):
        return None
    place = _place(connection, known.model_version, happened, now)
    anew = {"time": happened, "tries": 0, "emitted": None, "emissions": 0, "news": "wanted", **place}
    return connection.execute(update(alerts).where(alerts.c.id == known.id).values(anew).returning(*alerts.c)).one()


def _kept(word: str | None) -> str | None:
    return None if word is None else storable(word)


def _place(connection: Connection, model_version: str | None, happened: float, now: float) -> dict[str, Any]:
    """Return the state of a new alert: taken by the retraining that runs, answered by one before, or open."""
    last = connection.execute(
        select(retrainings)
        .where(retrainings.c.state.not_in(VOID))
        .order_by(retrainings.c.slot.is_(None), retrainings.c.started.desc())
        .limit(1)
    ).first()
    nobody = {"state": "open", "retraining": None, "not_before": now, "closed": None}
    if last is None:
        return nobody
    if model_version in (None, last.champion):
        if last.state == "running":
            return {**nobody, "state": "taken", "retraining": last.id}
        if last.state == "finished" and happened <= last.ended and now < last.cooled:
            return {**nobody, "state": "done", "retraining": last.id, "closed": now}
    return {**nobody, "not_before": max(now, last.cooled)}


def due(engine: Engine, *, now: float | None = None) -> Alert | None:
    """Return the alert to send on its way, marked as sent, or None: nothing is open, or it was sent a moment ago.

    One for all that are open, since whoever claims it takes the others along. Several who ask at once get it once.
    """

    def work(connection: Connection) -> Alert | None:
        moment = clock(connection) if now is None else now
        if connection.execute(select(retrainings.c.id).where(retrainings.c.slot == 1)).first():
            return None
        ready = (alerts.c.state == "open") & (alerts.c.not_before <= moment)
        last, most = connection.execute(select(func.max(alerts.c.emitted), func.max(alerts.c.emissions)).where(ready)).one()
        if last is not None and last <= moment < last + min(RESEND_SECONDS * 2 ** min(most - 1, 4), RESEND_MOST):
            return None
        oldest = connection.execute(select(alerts.c.id).where(ready).order_by(alerts.c.time, alerts.c.id).limit(1)).scalar()
        if oldest is None:
            return None
        sent = {"emitted": moment, "emissions": alerts.c.emissions + 1}
        return _alert(connection.execute(update(alerts).where(alerts.c.id == oldest).values(sent).returning(*alerts.c)).one())

    return alone(engine, work)


def close(engine: Engine, alert_id: str, closing: str, *, now: float | None = None) -> Alert | None:
    """Close an open alert for good, with who wants that and why on record; return None where it is not open."""

    def work(connection: Connection) -> Alert | None:
        moment = clock(connection) if now is None else now
        closed = {"state": "closed", "closed": moment, "closing": storable(closing[:MOST_WORDS]), "news": None}
        open_one = update(alerts).where(alerts.c.id == alert_id, alerts.c.state == "open")
        row = connection.execute(open_one.values(closed).returning(*alerts.c)).first()
        return _alert(row) if row else None

    return alone(engine, work)


def forget(engine: Engine, *, before: float) -> None:
    """Delete the alerts that were closed before a time, in whatever way, and told of. Retrainings stay: the policy counts them.

    One that a person closed, and that is told since, counts as closed when it was told last: else it would be new, and open, once gone.
    """
    over = alerts.c.state.not_in(("open", "taken")) & (alerts.c.closed < before) & alerts.c.news.is_distinct_from("given up")
    alone(engine, lambda connection: connection.execute(delete(alerts).where(over)))


def untold(engine: Engine, news: News) -> Sequence[Alert]:
    """Return the alerts of which people have not been told this yet, the oldest first."""
    with engine.connect() as connection:
        return [_alert(row) for row in connection.execute(select(alerts).where(alerts.c.news == news).order_by(alerts.c.time, alerts.c.id))]


def told(engine: Engine, alert: Alert) -> None:
    """Put on record that people have been told the news of an alert."""
    alone(
        engine,
        lambda connection: connection.execute(update(alerts).where(alerts.c.id == alert.id, alerts.c.news == alert.news).values(news=None)),
    )


def standing(engine: Engine, model_version: str | None = None) -> Standing:
    """Return how the loop stands, with the oldest open alert about this version (or about none)."""
    with engine.connect() as connection:
        running = connection.execute(select(retrainings.c.id).where(retrainings.c.slot == 1)).scalar()
        about = alerts.c.model_version.is_(None) | (alerts.c.model_version == model_version)
        waiting = select(alerts.c.id).where(alerts.c.state == "open", about).order_by(alerts.c.time, alerts.c.id).limit(1)
        return Standing(starts(connection), running, connection.execute(waiting).scalar())


def starts(connection: Connection) -> tuple[float, ...]:
    """Return when retrainings started, oldest first; those crashed or stopped count neither for the cooldown nor for the budget."""
    query = select(retrainings.c.started).where(retrainings.c.state.not_in(VOID)).order_by(retrainings.c.started)
    return tuple(connection.execute(query).scalars())


def find(engine: Engine, alert_id: str) -> Alert | None:
    """Return an alert by its id, or None."""
    with engine.connect() as connection:
        row = connection.execute(select(alerts).where(alerts.c.id == alert_id)).first()
        return _alert(row) if row else None


def listed(engine: Engine, *, states: Iterable[State] | None = None, limit: int = 100) -> Sequence[Alert]:
    """Return alerts, the newest first; all where no states are named."""
    query = select(alerts).order_by(alerts.c.raised.desc(), alerts.c.id).limit(limit)
    if states is not None:
        query = query.where(alerts.c.state.in_(tuple(states)))
    with engine.connect() as connection:
        return [_alert(row) for row in connection.execute(query)]


def _alert(row: Row[Any]) -> Alert:
    return Alert(**row._mapping)
