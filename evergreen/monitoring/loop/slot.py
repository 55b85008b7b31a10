"""The one place for a retraining: claimed, kept by signs of life, given back. There is never a second writer.

    claim(engine, alert_id, holder=..., live=..., settings=..., ...) -> Claim | Refusal
    renew(engine, claim) -> bool         a sign of life; False: the claim was lost, stop at once
    finish(engine, claim, "finished" | "failed" | "crashed" | "stopped", {...}) -> bool    False: it was no longer this holder's
    sweep(engine) -> list[Retraining]    those without a sign of life are finished as crashed, and their alerts open again
    untold(engine) · told(engine, retraining)    those found dead, here or by a claim, of which people have not been told yet
    running(engine) · retrainings(engine) -> what is on record

A claim is one transaction: leases looked at, cooldown and budget asked (policy.py), a row with the slot's unique 1, and every
open alert about the live model taken along. Crashed and stopped ones count neither for cooldown nor budget. An alert whose retraining
failed waits out the cooldown; one whose retraining crashed may be claimed at once, and later after a growing pause; both MAX_TRIES times.
A person who stops a retraining closes alerts with it; others that it had taken are open at once.

The lease is renewed by lease.py. Knows nothing of how a retraining works.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Engine, Row, or_, select, update

from evergreen.monitoring.log.records import new_id
from evergreen.monitoring.loop import loop_tables
from evergreen.monitoring.loop.alerts import MAX_TRIES, starts
from evergreen.monitoring.loop.loop_tables import alerts, alone, clock
from evergreen.monitoring.policy import HOUR, Hold, Situation, holds
from evergreen.sections.loop import Policy

Outcome = Literal["finished", "failed", "crashed", "stopped"]
Closes = Collection[str] | Literal["all"]
LABELS_SECONDS = 3600.0  # after which an alert that lacked new labels is looked at again
PAUSE_SECONDS = 60.0  # before the second try after a crash; then twice as long, and so on
table = loop_tables.retrainings


@dataclass(frozen=True, slots=True)
class Claim:
    """The slot is the holder's, until it finishes or its lease runs out."""

    id: str  # of the retraining
    holder: str
    alert: str
    alerts: tuple[str, ...]  # every alert that it answers
    trigger: str
    because: str
    champion: str | None
    started: float
    lease_seconds: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """No: in words, and until when, where time will do."""

    reason: Literal["unknown", "taken", "done", "stale", "given up", "closed", "running", "cooldown", "budget", "labels", "early"]
    because: str
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Retraining:
    """A retraining as it is on record; times in seconds since 1970."""

    id: str
    alert: str
    trigger: str
    champion: str | None
    holder: str
    state: Literal["running", "finished", "failed", "crashed", "stopped"]
    started: float
    heartbeat: float
    lease_until: float
    cooled: float
    ended: float | None
    result: dict[str, Any]
    news: Literal["crashed"] | None


def claim(
    engine: Engine,
    alert_id: str,
    *,
    holder: str,
    live: str | None,
    settings: Policy,
    new_labels: int | None = None,
    force: bool = False,
    now: float | None = None,
) -> Claim | Refusal:
    """Claim the slot for an alert, or say why not. Asked again by the same holder for the same alert, the answer is the same claim.

    `holder` names this very run (host, process, flow run). `live`: model version that answers now; None: there is none yet.
    `new_labels`: labelled rows that no training has seen; None: not asked. `force`: on a person's word, cooldown, budget and
    missing labels do not count. `now`: the database's clock where it is None; a start on record that lies later is believed.
    """

    def work(connection: Connection) -> Claim | Refusal:
        moment = clock(connection) if now is None else now
        _sweep(connection, moment)
        alert = connection.execute(select(alerts).where(alerts.c.id == alert_id)).first()
        if alert is None:
            return Refusal("unknown", f"there is no alert {alert_id}")
        current = connection.execute(select(table).where(table.c.slot == 1)).first()
        if current is not None and current.holder == holder and alert.retraining == current.id:
            return _claim(connection, current, settings)
        if (refusal := _not_open(connection, alert, live, moment)) is not None:
            return refusal
        if current is not None:
            return Refusal("running", f"retraining {current.id} runs")
        began = starts(connection)
        started = max(moment, *began) if began else moment
        if not force:
            state = Situation(now=started, newest_row=None, new_labels=new_labels, starts=began)
            if found := holds(state, settings):
                return _put_off(connection, live, found, moment)
            if alert.not_before > moment:
                return Refusal("early", f"alert {alert.id} waits a while after {alert.tries} tries", alert.not_before)
        return _begin(connection, alert, holder, live, started, moment, settings)

    return alone(engine, work)


def _not_open(connection: Connection, alert: Row[Any], live: str | None, now: float) -> Refusal | None:
    if alert.state != "open":
        by = f" by retraining {alert.retraining}" if alert.retraining else ""
        by = f" by {alert.closing}" if alert.closing else by
        return Refusal(alert.state, f"alert {alert.id} is {alert.state}{by}")
    if live is not None and alert.model_version not in (None, live):
        outdated = (alerts.c.state == "open") & alerts.c.model_version.is_not(None) & (alerts.c.model_version != live)
        connection.execute(update(alerts).where(outdated).values(state="stale", closed=now))
        return Refusal("stale", f"alert {alert.id} is about {alert.model_version}, but {live} is live")
    return None


def _put_off(connection: Connection, live: str | None, found: Sequence[Hold], now: float) -> Refusal:
    """Have every open alert wait for what holds the first one back; then it is sent again."""
    first = max(found, key=lambda hold: hold.until or 0.0)
    until = max((hold.until or now + LABELS_SECONDS) for hold in found)
    connection.execute(update(alerts).where(_about(live)).values(not_before=until, emitted=None))
    return Refusal(first.name if first.name != "open" else "running", "; ".join(hold.because for hold in found), until)


def _about(live: str | None) -> Any:
    """Return which alerts a retraining answers: those open about the live model, or about none by name."""
    fits = alerts.c.model_version.is_(None)
    return (alerts.c.state == "open") & (fits if live is None else or_(fits, alerts.c.model_version == live))


def _begin(connection: Connection, alert: Row[Any], holder: str, live: str | None, started: float, now: float, settings: Policy) -> Claim:
    row = {
        "id": new_id(started),
        "slot": 1,
        "alert": alert.id,
        "trigger": alert.trigger,
        "champion": live,
        "holder": holder,
        "state": "running",
        "started": started,
        "heartbeat": now,
        "lease_until": now + settings.lease_seconds,
        "cooled": started + settings.cooldown_hours * HOUR,
        "ended": None,
        "result": {},
    }
    begun = connection.execute(table.insert().values(row).returning(*table.c)).one()
    connection.execute(update(alerts).where(_about(live) | (alerts.c.id == alert.id)).values(state="taken", retraining=begun.id))
    return _claim(connection, begun, settings)


def _claim(connection: Connection, row: Row[Any], settings: Policy) -> Claim:
    taken = connection.execute(select(alerts.c.id).where(alerts.c.retraining == row.id).order_by(alerts.c.time, alerts.c.id))
    because = connection.execute(select(alerts.c.because).where(alerts.c.id == row.alert)).scalar_one()
    ids = tuple(taken.scalars())
    return Claim(row.id, row.holder, row.alert, ids, row.trigger, because, row.champion, row.started, settings.lease_seconds)


def renew(engine: Engine, claim: Claim, *, now: float | None = None) -> bool:
    """Give a sign of life; return whether the claim still is the holder's. Where it is not, another may be at work: stop at once."""

    def work(connection: Connection) -> bool:
        moment = clock(connection) if now is None else now
        signs = {"heartbeat": moment, "lease_until": moment + claim.lease_seconds}
        return connection.execute(update(table).where(*_own(claim)).values(signs)).rowcount == 1

    return alone(engine, work, seconds=claim.lease_seconds / 3)


def finish(
    engine: Engine,
    claim: Claim,
    outcome: Outcome,
    result: Mapping[str, Any] | None = None,
    *,
    closes: Closes = (),
    now: float | None = None,
) -> bool:
    """Give the slot back and close the alerts, or open them again; return whether the claim still was the holder's.

    `closes`: of one that was stopped, the alerts that its end closes for good, or "all", those included that came while it ran; `error` of
    the result says who and why.
    """

    def work(connection: Connection) -> bool:
        moment = clock(connection) if now is None else now
        row = connection.execute(select(table).where(*_own(claim))).first()
        if row is not None:
            _end(connection, row, outcome, dict(result or {}), moment, closes=closes)
        return row is not None

    return alone(engine, work)


def _own(claim: Claim) -> tuple[Any, ...]:
    return table.c.id == claim.id, table.c.holder == claim.holder, table.c.slot == 1


def sweep(engine: Engine, *, now: float | None = None) -> list[Retraining]:
    """Finish the retrainings whose lease has run out as crashed; return them."""
    return alone(engine, lambda connection: _sweep(connection, clock(connection) if now is None else now))


def _sweep(connection: Connection, now: float) -> list[Retraining]:
    dead = connection.execute(select(table).where(table.c.slot == 1, table.c.lease_until < now)).all()
    silent = [{"error": f"no sign of life for {now - row.heartbeat:.0f} s"} for row in dead]
    return [_end(connection, row, "crashed", result, now, news="crashed") for row, result in zip(dead, silent, strict=True)]


def _end(
    connection: Connection,
    row: Row[Any],
    outcome: Outcome,
    result: dict[str, Any],
    now: float,
    *,
    news: str | None = None,
    closes: Closes = (),
) -> Retraining:
    ended = max(now, row.started)
    values = {"state": outcome, "slot": None, "ended": ended, "result": result, "news": news}
    after = _retraining(connection.execute(update(table).where(table.c.id == row.id).values(values).returning(*table.c)).one())
    own = (alerts.c.retraining == row.id) & (alerts.c.state == "taken")
    if outcome == "finished":
        connection.execute(update(alerts).where(own).values(state="done", closed=now))
        return after
    if outcome == "stopped":
        closed = {"state": "closed", "closed": now, "closing": result["error"], "news": None}
        which = own if closes == "all" else own & alerts.c.id.in_(closes)
        connection.execute(update(alerts).where(which).values(closed))
        connection.execute(update(alerts).where(own).values(state="open", not_before=now, emitted=None, emissions=0))
        return after
    for alert in connection.execute(select(alerts.c.id, alerts.c.tries).where(own)).all():
        tries = alert.tries + 1
        pause = PAUSE_SECONDS * 2 ** (tries - 2) if tries > 1 else 0.0
        again = {
            "state": "open",
            "not_before": now + pause if outcome == "crashed" else max(now, row.cooled),
            "emitted": None,
            "emissions": 0,
        }
        values = again if tries < MAX_TRIES else {"state": "given up", "closed": now, "news": "given up"}
        connection.execute(update(alerts).where(alerts.c.id == alert.id).values(tries=tries, **values))
    return after


def untold(engine: Engine) -> Sequence[Retraining]:
    """Return the retrainings that were found dead and of which people have not been told yet, the oldest first."""
    with engine.connect() as connection:
        return [_retraining(row) for row in connection.execute(select(table).where(table.c.news.is_not(None)).order_by(table.c.started))]


def told(engine: Engine, dead: Retraining) -> None:
    """Put on record that people have been told of a dead one."""
    alone(engine, lambda connection: connection.execute(update(table).where(table.c.id == dead.id).values(news=None)))


def running(engine: Engine) -> Retraining | None:
    """Return the retraining that holds the slot, or None."""
    with engine.connect() as connection:
        row = connection.execute(select(table).where(table.c.slot == 1)).first()
        return _retraining(row) if row else None


def retrainings(engine: Engine, *, limit: int = 100) -> Sequence[Retraining]:
    """Return what is on record, the newest first."""
    with engine.connect() as connection:
        return [
            _retraining(row) for row in connection.execute(select(table).order_by(table.c.started.desc(), table.c.id.desc()).limit(limit))
        ]


def _retraining(row: Row[Any]) -> Retraining:
    return Retraining(**{name: value for name, value in row._mapping.items() if name != "slot"})
