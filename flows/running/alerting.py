"""From an alert to a retraining, and who sees to it: open alerts are sent to Prefect until one is claimed, the dead are swept away.

    opened(root) -> engine                    the loop's tables, made where they are missing
    wanted(engine, payload=..., ...) -> Alert    the alert that a run of the retrain deployment is for, put on record where it is new
    holder(flow_run) -> str                   how a run names itself when it claims the slot (slot.claim)
    attend(engine, api, params) -> None       one round: sweep, send, tell
    python -m flows.running.alerting                  rounds until it is ended: a process of `evergreen up`, or one of its own in a cluster

Exactly-once is not made here but in evergreen/monitoring/loop/slot.py: an event may be lost, doubled or late. Imports nothing of Prefect.

What the automation hands to the retrain deployment: `wanted`, the event's payload ({"alert", "trigger", "because", "model_version",
"window", "facts"}), and `event`, its id. An event from outside has no "alert", and may say "key", "trigger" and "because".
"""

import os
import socket
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from evergreen.config import Params
from evergreen.home import traffic_url
from evergreen.monitoring.log import database
from evergreen.monitoring.loop import alerts, loop_tables, slot
from evergreen.monitoring.loop.alerts import Alert
from flows.bridge.committed import params_of
from flows.notify import notify
from flows.running import connection, prefect_api
from flows.running.rounds import Round, Say, rounds

EVENT = "evergreen.retrain.wanted"
CANCELLED = "a person cancelled its run in Prefect"
EVERY = 10.0  # seconds between two rounds


def opened(root: Path) -> AbstractContextManager[Engine]:
    """Open the database of a project's loop; its tables are made where they are missing."""
    url = traffic_url(params_of(root).serve.log.url)
    return database.opened(url, loop_tables.prepare, fault="the database of alerts and retrainings cannot be used")


def wanted(
    engine: Engine,
    *,
    payload: Mapping[str, Any] | None = None,
    event: str | None = None,
    schedule: str | None = None,
    person: str | None = None,
) -> Alert:
    """Return the alert that a retraining is for: the one it was started by, or a new one of the event, the schedule or the person.

    `schedule`: the moment it was due, as text; `person`: who asked for it, and why. Doubled runs come to the same alert.
    """
    given = payload or {}
    known = alerts.find(engine, str(given["alert"])) if given.get("alert") else None
    if known is not None:
        return known
    if payload is not None:
        words = str(given.get("because") or "an event from outside asked for it")
        trigger, key, facts = str(given.get("trigger") or "event"), str(given.get("key") or event), given.get("facts")
        return alerts.raise_alert(
            engine,
            source="event",
            trigger=trigger,
            because=words,
            model_version=given.get("model_version") or None,
            key=key,
            facts=facts if isinstance(facts, dict) else {},
        )[0]
    if schedule is not None:
        because = f"due by schedule at {schedule}"
        return alerts.raise_alert(engine, source="schedule", trigger="schedule", because=because, key=schedule)[0]
    because = person or "a person asked for it"
    return alerts.raise_alert(engine, source="person", trigger="person", because=because, key=f"{time.time_ns()} {os.getpid()}")[0]


def holder(flow_run: str | None) -> str:
    """Return who claims: machine, process and flow run."""
    return f"{socket.gethostname()}:{os.getpid()}:{flow_run or ''}"


def attend(engine: Engine, api: str | None, params: Params, *, say: Say = print) -> None:
    """Do one round. Without a server nothing is sent, and nothing is lost: alerts stay open."""
    slot.sweep(engine)
    for dead in slot.untold(engine):
        _tell_dead(engine, dead, api, params, say)
        slot.told(engine, dead)
    for lost in alerts.untold(engine, "given up"):
        tried = f"{alerts.MAX_TRIES} retrainings for it have crashed or failed, the last was {lost.retraining}"
        body = f"{lost.because}; {tried}; it is not tried again"
        notify(params.notify, "failure", f"alert {lost.id} is given up", body, say=say)
        alerts.told(engine, lost)
    if api is None:
        return
    alert = alerts.due(engine)
    if alert is None:
        return
    try:
        send(api, alert)
    except OSError as fault:
        say(f"alert {alert.id} could not be sent to Prefect ({fault}); it stays open and is sent again")
        return
    say(f"alert {alert.id} ({alert.trigger}) sent{' again' if alert.emissions > 1 else ''}")
    if alert.news == "wanted" or (alert.news is None and alert.emissions == 1 and alert.tries == 0):  # a service of before keeps no news
        body = f"{alert.because}. A retraining starts, unless a cooldown or budget holds it."
        notify(params.notify, "alert", f"a retraining is wanted ({alert.trigger})", body, say=say)
        alerts.told(engine, alert)


def _tell_dead(engine: Engine, dead: slot.Retraining, api: str | None, params: Params, say: Say) -> None:
    flow_run = dead.holder.rpartition(":")[2]
    if cancelled(api, flow_run):  # and killed before it could say so itself
        for alert in alerts.listed(engine, states=("open",), limit=1000):
            if alert.retraining == dead.id:
                alerts.close(engine, alert.id, CANCELLED)
        return say(f"retraining {dead.id}: {CANCELLED}; its alerts are closed")
    if api is not None and flow_run:
        try:
            prefect_api.mark_crashed(api, flow_run, f"Retraining {dead.id}: {dead.result['error']}.")
        except OSError as fault:
            say(f"flow run {flow_run} could not be marked as crashed ({fault}); its missing heartbeat will do it")
    given_up = [alert for alert in alerts.untold(engine, "given up") if alert.retraining == dead.id]
    then = f"it has been tried {alerts.MAX_TRIES} times and is not tried again" if given_up else "its alert is open again"
    notify(params.notify, "failure", f"retraining {dead.id} has crashed", f"{dead.result['error']}; {then}", say=say)
    for alert in given_up:
        alerts.told(engine, alert)


def cancelled(api: str | None, flow_run: str | None) -> bool:
    """Return whether a person has cancelled a flow run in Prefect, as far as Prefect says so now."""
    try:
        return bool(api and flow_run) and prefect_api.cancelled(str(api), str(flow_run))
    except OSError:
        return False


def send(api: str, alert: Alert) -> None:
    """Send an alert on its way to the retrain deployment. Raises OSError where Prefect's server does not take it."""
    name = {"prefect.resource.id": f"evergreen.alert.{alert.id}", "prefect.resource.name": f"alert {alert.id}"}
    payload = {
        "alert": alert.id,
        "trigger": alert.trigger,
        "because": alert.because,
        "model_version": alert.model_version,
        "window": alert.window,
        "facts": alert.facts,
    }
    prefect_api.emit(api, EVENT, resource=name, payload=payload)


def rounds_of(root: Path) -> Round:
    """Return what one round does for a project."""

    def attend_to(say: Say) -> None:
        with opened(root) as engine:
            attend(engine, connection.api(), params_of(root), say=say)

    return attend_to


if __name__ == "__main__":
    rounds("flows.running.alerting", rounds_of, every=EVERY)
