"""One look of the monitor: the next window of live traffic -> facts -> decision -> alert, each on record before the next; then pages.

A look may be killed anywhere and made again: a window is judged once, a window that was judged but not decided upon is decided upon
first, and a decision to retrain without its alert raises it first. Knows nothing of Prefect: `step` calls each part, plainly here, as a
task in flows/monitor.py.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evergreen.config import Params
from evergreen.errors import MonitorError
from evergreen.home import traffic_url
from evergreen.wording import counted
from flows import HOME
from flows.bridge.committed import params_of
from flows.looking import pages as look_pages
from flows.looking import whose
from flows.making.inputs import unseen
from flows.steps import Step, plainly

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from evergreen.drift.reference import Reference
    from evergreen.monitoring.watch.history import Recorded
    from evergreen.monitoring.watch.judging import Judgement
    from evergreen.monitoring.watch.window import Span, Subject

Say = Callable[[str], None]
HISTORY = 400  # windows that a decision may look back on
DAY = 86_400.0  # seconds
LOST = 7 * DAY  # seconds within which a decision whose alert was never raised still raises it


@dataclass(frozen=True)
class Asked:
    """What a look is asked for: the project, the state, the time (`clock`: None for the database's own), and a person's own bounds."""

    root: Path
    home: Path
    params: Params
    now: float
    clock: float | None
    since: float | None = None
    until: float | None = None
    evidently: bool = True


@dataclass(frozen=True)
class Look:
    """What a look came to: the facts of the window, or why there is none yet; the decision; and the page that shows them."""

    facts: dict[str, Any] | None
    waiting: str | None
    decision: "Recorded | None"
    page: Path | None = None


def look(
    root: Path,
    *,
    home: Path = HOME,
    url: str | None = None,
    now: float | None = None,
    since: float | None = None,
    until: float | None = None,
    evidently: bool = True,
    step: Step = plainly,
    say: Say = print,
) -> Look:
    """Look at the next window of the live version's traffic (or the one between `since` and `until`), decide, and put both on record.

    Times are seconds since 1970; `now` is another time than the present, for replays. Without `evidently` its report is left out.
    """
    params = params_of(root, say)
    asked = Asked(root, home, params, time.time() if now is None else now, now, since, until, evidently)
    with _opened(url or traffic_url(params.serve.log.url)) as engine:
        version = whose.live(engine, home)
        if version is None:
            return Look(None, "nothing has been answered yet", None)
        reference = step("find the reference", lambda: whose.reference_of(version.model_version, root, home))
        finish(engine, asked, reference, step, say)
        facts, judgement, waiting = _judge(engine, asked, version, reference, step)
        if waiting:
            say(waiting)
        decision = step("decide", lambda: _decide(engine, asked, version.model_version, facts, reference, say))
        say(f"decision: {decision.action}; {decision.because}")
        forget(engine, asked, version.model_version)
        try:
            if judgement and evidently:
                step("report by Evidently", lambda: look_pages.report(home, params, judgement, reference))
        finally:
            page = step("draw the page", lambda: look_pages.draw(engine, home, params, waiting=waiting, now=asked.now))
        return Look(facts, waiting, decision, page)


def finish(engine: "Engine", asked: Asked, reference: "Reference", step: Step, say: Say) -> None:
    """Decide upon windows whose monitor was killed before it could, and raise the alerts that it did not come to."""
    from evergreen.monitoring.loop import alerts
    from evergreen.monitoring.watch import history

    for facts in history.undecided(engine):
        say(f"window {facts['number']} of {facts['model_version']} was judged and not decided upon; deciding now")
        its_own = reference if facts["reference"] == reference.digest else None  # of a version that has gone no more is known
        step("decide", partial(_decide, engine, asked, facts["model_version"], facts, its_own, say))
    began = alerts.standing(engine).starts  # what was decided before a retraining was answered by it
    for decision in history.wanting(engine, since=max([asked.now - LOST, *began])):
        if alerts.find(engine, alerts.id_of(**_about(decision))) is None:
            say(f"the decision to retrain on window {decision.window} raised no alert; raising it now")
            _alert(engine, asked, decision)


def forget(engine: "Engine", asked: Asked, live: str) -> None:
    """Delete what is older than the log keeps answers, and needed by no look to come."""
    from evergreen.monitoring.loop import alerts
    from evergreen.monitoring.watch import history

    before = asked.now - max(asked.params.serve.log.keep_days * DAY, LOST + DAY)
    history.forget(engine, before=before, live=live, keep=HISTORY)
    alerts.forget(engine, before=before)


def _judge(
    engine: "Engine", asked: Asked, version: whose.LiveVersion, reference: "Reference", step: Step
) -> "tuple[dict[str, Any] | None, Judgement | None, str | None]":
    """Return the facts of the next window, on record, with what they were found in; or why there is no window yet."""
    from evergreen.monitoring.log.request_log import Window
    from evergreen.monitoring.watch import history
    from evergreen.monitoring.watch.window import Subject, count, span

    subject = Subject(version.model_version, reference.digest)
    about = {"model_version": subject.model_version, "reference": subject.reference}
    last = history.judged(engine, **about)
    judged_until, number = (last.until, last.number + 1) if last else (None, 1)
    asked_for = {"since": asked.since, "until": asked.until}
    try:
        next_one = span(live_since=version.since, judged_until=judged_until, number=number, now=asked.now, **asked_for)
    except MonitorError:
        if asked.since is not None or asked.until is not None:
            raise
        return None, None, "no time has passed since the last window"
    if known := history.find(engine, next_one.id(subject)):
        return known, None, None
    if other := history.overlapping(engine, **about, since=next_one.since, until=next_one.until):
        raise MonitorError(f"window {other['number']} covers some of this time, and no answer is judged twice: evergreen monitor show")
    rows, least = count(engine, Window(next_one.since, next_one.until, subject.model_version)), asked.params.monitor.min_rows
    if rows < least:
        return None, None, f"{counted(rows, 'answer')} since the last window; one needs {least} (monitor.min_rows)"
    judgement = step("judge", lambda: _judged(engine, asked, subject, next_one, version, reference))
    return step("record", lambda: history.record(engine, judgement.facts, now=asked.now)), judgement, None


def _judged(
    engine: "Engine", asked: Asked, subject: "Subject", span: "Span", version: whose.LiveVersion, reference: "Reference"
) -> "Judgement":
    """Return a window's facts, with the places of what will be written about it."""
    from evergreen.monitoring.watch.judging import judge_window

    model = whose.model_of(version, asked.root)
    copies = look_pages.copies(asked.home)
    judgement = judge_window(engine, subject, span, reference=reference, model=model, settings=asked.params.monitor, copies=copies)
    return look_pages.placed(asked.home, asked.params, judgement, reference, report=asked.evidently)


def _decide(
    engine: "Engine", asked: Asked, model_version: str, facts: dict[str, Any] | None, reference: "Reference | None", say: Say
) -> "Recorded":
    """Decide on a new window, or between two, and put it on record; where a retraining is wanted, raise the alert."""
    from evergreen.monitoring.loop import alerts
    from evergreen.monitoring.policy import Situation, decide
    from evergreen.monitoring.watch import history, judging

    seen = history.read(engine, model_version=model_version, last=HISTORY)
    if facts is not None:
        seen = [one for one in seen if one["number"] <= facts["number"] and one["reference"] == facts["reference"]]
    elif seen and reference is not None:  # between two windows: labels may have come meanwhile
        seen[-1] = {**seen[-1], "quality": judging.measure(engine, model_version, asked.now, reference)}
    how = alerts.standing(engine, model_version)
    situation = Situation(
        now=asked.now,
        newest_row=reference.trained_until if reference else None,
        new_labels=unseen(asked.root, model_version, params=asked.params, engine=engine, say=say),
        starts=how.starts,
        running=how.running,
        open_alert=how.open_alert,
    )
    made = decide(seen, situation, asked.params.policy)
    name = facts["id"] if facts else f"{model_version} {asked.now!r}"
    decision = history.Recorded(
        id=name,
        window=made.window,
        model_version=model_version,
        time=asked.now,
        action=made.action,
        trigger=made.trigger,
        because=made.because,
        content=made.as_json(),
    )
    decision = history.record_decision(engine, decision)
    if decision.action == "retrain":
        _alert(engine, asked, decision)
    return decision


def _alert(engine: "Engine", asked: Asked, decision: "Recorded") -> None:
    """Raise the alert of a decision; raised twice it is one."""
    from evergreen.monitoring.loop import alerts
    from evergreen.monitoring.watch import history

    alerts.raise_alert(
        engine,
        **_about(decision),
        because=decision.because,
        time=decision.time,
        facts=history.find(engine, decision.window) if decision.window else None,
        now=asked.clock,
    )


def _about(decision: "Recorded") -> dict[str, Any]:
    """Return what makes a decision's alert the one it is: one made between two windows has a name of its own beside the window's."""
    return {
        "source": "monitor",
        "trigger": decision.trigger or "",
        "model_version": decision.model_version,
        "reference": decision.content.get("reference"),
        "window": decision.window,
        "key": None if decision.id == decision.window else decision.id,
    }


def _opened(url: str) -> "AbstractContextManager[Engine]":
    """Open the database with the tables of the request log, the monitor and the loop."""
    from evergreen.monitoring.log import database, request_log
    from evergreen.monitoring.loop import loop_tables
    from evergreen.monitoring.watch import history

    ready = (tables.prepare for tables in (request_log, history, loop_tables))
    return database.opened(url, *ready, fault="the request log cannot be used", statement_seconds=0)
