"""One look of the monitor: the next window of live traffic -> facts -> decision -> alert, each on record before the next.

A look may be killed anywhere and made again: a window is judged once, a window that was judged but not decided upon is decided upon
first, and a decision to retrain without its alert raises it first. Knows nothing of Prefect: `step` calls each part, plainly here, as a
task in flows/monitor.py.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from evergreen.config import Params, load_params
from evergreen.errors import LogError, MonitorError
from evergreen.home import traffic_url
from evergreen.wording import counted
from flows import HOME, whose

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from evergreen.config import Monitor
    from evergreen.drift.rows import Seen
    from evergreen.monitoring.history import Recorded
    from evergreen.monitoring.observation import Reference
    from evergreen.monitoring.window import Span, Subject

T = TypeVar("T")
Say = Callable[[str], None]
HISTORY = 400  # windows that a decision may look back on
MOST_CONFIDENCES = 20_000
LOST = 7 * 86_400  # seconds within which a decision whose alert was never raised still raises it


class Step(Protocol):
    """Calls one part of a look by its name."""

    def __call__(self, name: str, work: Callable[[], T]) -> T:
        """Return what the part returns."""


def plainly(name: str, work: Callable[[], T]) -> T:
    """Call a part of a look, and nothing more."""
    return work()


@dataclass(frozen=True)
class Asked:
    """What a look is asked for: the project, the state, the database, the time, and a person's own bounds."""

    root: Path
    home: Path
    params: Params
    now: float
    clock: float | None  # None: the database's own
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True)
class Look:
    """What a look came to: the facts of a new window, or why there is none yet; and the decision, where there was something to decide."""

    facts: dict[str, Any] | None
    waiting: str | None
    decision: "Recorded | None"


def look(
    root: Path,
    *,
    home: Path = HOME,
    url: str | None = None,
    now: float | None = None,
    since: float | None = None,
    until: float | None = None,
    step: Step = plainly,
    say: Say = print,
) -> Look:
    """Look at the next window of the live version's traffic (or the one between `since` and `until`), decide, and put both on record."""
    params = load_params(root / "params.yaml")
    asked = Asked(root, home, params, time.time() if now is None else now, now, since, until)
    with _opened(url or traffic_url(params.serve.log.url)) as engine:
        version = whose.live(engine, home)
        if version is None:
            return Look(None, "nothing has been answered yet", None)
        finish(engine, asked, step, say)
        facts, waiting = _judge(engine, asked, version, step)
        if waiting:
            say(waiting)
        decision = step("decide", lambda: _decide(engine, asked, version.model_version, facts))
        say(f"decision: {decision.action}; {decision.because}")
        return Look(facts, waiting, decision)


def finish(engine: "Engine", asked: Asked, step: Step, say: Say) -> None:
    """Decide upon windows whose monitor was killed before it could, and raise the alerts that it did not come to."""
    from evergreen.monitoring import alerts, history

    for facts in history.undecided(engine):
        say(f"window {facts['number']} of {facts['model_version']} was judged and not decided upon; deciding now")
        step("decide", lambda facts=facts: _decide(engine, asked, facts["model_version"], facts))
    raised = {(one.window, one.trigger) for one in alerts.listed(engine, limit=HISTORY)}
    for decision in history.wanting(engine, raised, since=asked.now - LOST):
        say(f"the decision to retrain on window {decision.window} raised no alert; raising it now")
        _alert(engine, asked, decision)


def _judge(engine: "Engine", asked: Asked, version: whose.LiveVersion, step: Step) -> tuple[dict[str, Any] | None, str | None]:
    """Return the facts of the next window, on record; or why there is none yet."""
    from evergreen.monitoring import history
    from evergreen.monitoring.request_log import Window
    from evergreen.monitoring.window import Subject, count, span

    reference = step("find the reference", lambda: whose.reference_of(version.model_version, asked.root, asked.home))
    subject = Subject(version.model_version, reference.digest)
    about = {"model_version": subject.model_version, "reference": subject.reference}
    last = history.judged(engine, **about)
    bounds = {"since": asked.since, "until": asked.until, "now": asked.now}
    try:
        next_one = span(live_since=version.since, judged_until=last and last.until, number=last.number + 1 if last else 1, **bounds)
    except MonitorError:
        if asked.since is not None or asked.until is not None:
            raise
        return None, "no time has passed since the last window"
    if known := history.find(engine, next_one.id(subject)):
        return known, None
    if other := history.overlapping(engine, **about, since=next_one.since, until=next_one.until):
        raise MonitorError(f"window {other['number']} covers some of this time, and no answer is judged twice: evergreen monitor show")
    rows = count(engine, Window(next_one.since, next_one.until, subject.model_version))
    if rows < asked.params.monitor.min_rows:
        return None, f"{counted(rows, 'answer')} since the last window; one needs {asked.params.monitor.min_rows} (monitor.min_rows)"
    model = step("load the model", lambda: whose.model_of(version, asked.root))
    facts = step("judge", lambda: _facts(engine, asked, subject, next_one, reference, model))
    return step("record", lambda: history.record(engine, facts, now=asked.now)), None


def _facts(engine: "Engine", asked: Asked, subject: "Subject", span: "Span", reference: "Reference", model: Any) -> dict[str, Any]:
    from evergreen.monitoring.facts import facts
    from evergreen.monitoring.observation import observe
    from evergreen.monitoring.request_log import Window
    from evergreen.monitoring.window import read

    knobs = asked.params.monitor
    window = Window(span.since, span.until, subject.model_version)
    traffic = read(engine, window, labels=reference.labels, columns=reference.told, most=knobs.max_rows, seed=knobs.seed)
    seen = observe(traffic.table, reference.vocabulary, model)
    measured = _quality(engine, subject, span.until, reference)
    earlier = _earlier(engine, subject, knobs, reference, model)
    return facts(subject, span, traffic, seen=seen, reference=reference, quality=measured, earlier=earlier, settings=knobs)


def _earlier(engine: "Engine", subject: "Subject", knobs: "Monitor", reference: "Reference", model: Any) -> "list[Seen]":
    """Return the rows of the windows just before, which drift that comes slowly is looked for in together with the newest."""
    from evergreen.monitoring import history
    from evergreen.monitoring.observation import for_tests, observe
    from evergreen.monitoring.request_log import Window
    from evergreen.monitoring.window import read

    before = history.read(engine, model_version=subject.model_version, reference=subject.reference, last=knobs.pooled - 1)
    asked = {"labels": reference.labels, "columns": reference.told, "most": max(1, knobs.max_rows // knobs.pooled), "seed": knobs.seed}
    found = []
    for one in before:
        traffic = read(engine, Window(one["since"], one["until"], subject.model_version), **asked)
        if len(traffic.table):
            found.append(for_tests(observe(traffic.table, reference.vocabulary, model), reference))
    return found


def _quality(engine: "Engine", subject: "Subject", until: float | None, reference: "Reference") -> dict[str, Any] | None:
    from evergreen.monitoring.quality import NEWEST, quality
    from evergreen.monitoring.request_log import Window
    from evergreen.monitoring.window import confidences, newest_labelled

    window = Window(None, until, subject.model_version)
    labelled = newest_labelled(engine, window, labels=reference.labels, columns=reference.told, most=NEWEST)
    if not len(labelled):
        return None
    of_all = replace(window, since=float(labelled["timestamp"].iloc[0].timestamp()))
    return quality(labelled, reference.table, confidence_of_all=confidences(engine, of_all, most=MOST_CONFIDENCES))


def _decide(engine: "Engine", asked: Asked, model_version: str, facts: dict[str, Any] | None) -> "Recorded":
    """Decide on a new window, or between two, and put it on record; where a retraining is wanted, raise the alert."""
    from evergreen.monitoring import alerts, history
    from evergreen.monitoring.policy import Situation, decide

    seen = history.read(engine, model_version=model_version, last=HISTORY)
    if facts is not None:
        seen = [one for one in seen if one["number"] <= facts["number"] and one["reference"] == facts["reference"]]
    how = alerts.standing(engine, model_version)
    stands = {"starts": how.starts, "running": how.running, "open_alert": how.open_alert}
    made = decide(seen, Situation(now=asked.now, newest_row=None, new_labels=None, **stands), asked.params.policy)
    name = facts["id"] if facts else f"{model_version} {asked.now!r}"
    told = {"action": made.action, "trigger": made.trigger, "because": made.because, "content": made.as_json()}
    decision = history.Recorded(id=name, window=made.window, model_version=model_version, time=asked.now, **told)
    decision = history.record_decision(engine, decision)
    if decision.action == "retrain":
        _alert(engine, asked, decision)
    return decision


def _alert(engine: "Engine", asked: Asked, decision: "Recorded") -> None:
    """Raise the alert of a decision; raised twice it is one."""
    from evergreen.monitoring import alerts, history

    facts = history.find(engine, decision.window) if decision.window else None
    alerts.raise_alert(
        engine,
        source="monitor",
        trigger=decision.trigger or "",
        because=decision.because,
        model_version=decision.model_version,
        reference=decision.content.get("reference"),
        window=decision.window,
        time=decision.time,
        facts=facts,
        now=asked.clock,
    )


@contextmanager
def _opened(url: str) -> "Iterator[Engine]":
    """Open the database with the tables of the request log and the monitor; its errors hold nothing of a row."""
    from sqlalchemy.exc import SQLAlchemyError

    from evergreen.monitoring import history, loop_tables, request_log
    from evergreen.monitoring.database import connect, described

    engine = connect(url, statement_seconds=0)
    try:
        request_log.prepare(engine)
        history.prepare(engine)
        loop_tables.prepare(engine)
        yield engine
    except SQLAlchemyError as fault:
        raise LogError(f"the request log cannot be used: {described(fault)}") from None
    finally:
        engine.dispose()
