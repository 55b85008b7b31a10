"""When a model is trained anew: the facts of windows and the state of the loop in, one decision with its reasons out.

    decide(windows, situation, settings) -> Decision

`windows` are the facts of the windows looked at (evergreen/monitoring/watch/window.py), oldest first, the newest last; only those of the
newest one's version and reference count. `settings` is the section `policy` of params.yaml. A decision is made of checks (may a
trigger fire?) and, where one fires, of holds (what keeps a training from starting now). `Decision.as_json()` is what goes on record.

Pure: knows no clock, no database and no Prefect, so that recorded windows can be decided upon again with other settings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from evergreen.sections.loop import Policy
from evergreen.wording import counted

Facts = Mapping[str, Any]
Action = Literal["retrain", "wait", "nothing"]
Outcome = Literal["fires", "quiet", "unknown", "off"]
TRIGGERS = ("loss", "drift", "labels", "age")  # the most telling first: it names the retraining where several fire
HOUR, DAY = 3600, 86_400


@dataclass(frozen=True, slots=True)
class Situation:
    """What a decision needs to know beside the windows. Times are seconds since 1970."""

    now: float
    newest_row: float | None  # when the newest training row of the live version was written; None: nobody knows
    new_labels: int | None  # labelled rows that no training has seen yet; None: nobody knows
    starts: tuple[float, ...] = ()  # of the retrainings so far, those that crashed left out
    running: str | None = None  # id of the retraining that runs
    open_alert: str | None = None  # id of an alert about this version that waits for its retraining


@dataclass(frozen=True, slots=True)
class Check:
    """Whether one trigger fires, on what figure, and why."""

    trigger: str
    outcome: Outcome
    because: str
    value: float | None = None
    bound: float | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """What keeps a wanted training from starting; `until` is when it will give way by itself, None where time alone does nothing."""

    name: Literal["open", "running", "cooldown", "budget", "labels"]
    because: str
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """retrain: an alert is raised. wait: there is reason to, and something holds it. nothing: there is no reason to."""

    action: Action
    trigger: str | None  # one of TRIGGERS, where any fires
    because: str
    time: float
    window: str | None
    model_version: str | None
    reference: str | None
    checks: tuple[Check, ...]
    holds: tuple[Hold, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the decision as JSON can hold it."""
        return asdict(self)


def decide(windows: Sequence[Facts], situation: Situation, settings: Policy) -> Decision:
    """Return what to do now, with every check and every hold in words; the same input gives the same decision."""
    newest = windows[-1] if windows else None
    alike = [window for window in windows if newest and _world(window) == _world(newest)]
    checks = (_loss(alike, settings), _drift(alike, settings), _labels(situation, settings), _age(situation, settings))
    fired = [check for check in checks if check.outcome == "fires"]
    found = holds(situation, settings) if fired else ()
    action: Action = "nothing" if not fired else "wait" if found else "retrain"
    return Decision(
        action=action,
        trigger=fired[0].trigger if fired else None,
        because=_because(checks, fired, found),
        time=situation.now,
        window=newest["id"] if newest else None,
        model_version=newest["model_version"] if newest else None,
        reference=newest["reference"] if newest else None,
        checks=checks,
        holds=found,
    )


def _world(window: Facts) -> tuple[Any, Any]:
    return window["model_version"], window["reference"]


def _because(checks: Sequence[Check], fired: Sequence[Check], found: Sequence[Hold]) -> str:
    if not fired:
        return "no reason to retrain: " + "; ".join(check.because for check in checks if check.outcome != "off")
    reason = "; ".join(check.because for check in fired)
    return f"{reason}; but {'; '.join(hold.because for hold in found)}" if found else reason


# What may fire


def _loss(windows: Sequence[Facts], settings: Policy) -> Check:
    """Accuracy lost against the reference, beyond doubt by late labels."""
    bound = settings.measured_loss
    if bound is None:
        return Check("loss", "off", "measured loss is not a reason (policy.measured_loss)")
    told = [loss for window in windows if (loss := _figure(window, "quality")) is not None]
    if not told:
        return Check("loss", "unknown", "no late labels to measure by", None, bound)
    low, value = told[-1]["low"], told[-1]["value"]
    run = _run([loss["low"] > bound for loss in told])
    words = f"measured loss {value:.3f} (at least {low:.3f}) in accuracy"
    if run == 0:
        return Check("loss", "quiet", f"{words} is not beyond {bound:g}", low, bound)
    return _persistent("loss", f"{words} is beyond {bound:g}", run, settings.persistence, low, bound)


def _drift(windows: Sequence[Facts], settings: Policy) -> Check:
    """Drift together with an estimated loss. The alarm says that it is no chance; the estimate says that it matters."""
    bound = settings.estimated_loss
    if bound is None:
        return Check("drift", "off", "drift is not a reason (policy.estimated_loss)")
    seen = [(window, shown) for window in windows if (shown := _shows_drift(window, bound)) is not None]
    if not seen:
        return Check("drift", "unknown", _untold(windows[-1]) if windows else "no window to look at", None, bound)
    newest, estimate = seen[-1][0], _figure(seen[-1][0], "estimate")
    lost = estimate["value"] if estimate else None
    shows = [shown for _, shown in seen]
    run = _run(shows)
    if _stands(shows, settings.persistence) and run < settings.persistence and not _ruled_out(newest, bound):
        words = f"drift with an estimated loss, which {counted(settings.persistence, 'window')} in a row without it would clear"
        return Check("drift", "fires", f"{words} ({lost:.3f} now)" if lost is not None else words, lost, bound)
    if run:
        return _persistent("drift", f"drift with an estimated loss of {lost:.3f} in accuracy", run, settings.persistence, lost, bound)
    if newest is not windows[-1]:
        return Check("drift", "unknown", _untold(windows[-1]), None, bound)
    if not newest["drift"]["alarm"]:
        return Check("drift", "quiet", "no drift", lost, bound)
    if lost is not None and lost <= bound:
        return Check("drift", "quiet", f"drift, but an estimated loss of {lost:.3f} is within {bound:g}", lost, bound)
    return Check("drift", "quiet", f"drift, but late labels rule out a loss beyond {bound:g}", lost, bound)


def _shows_drift(window: Facts, bound: float) -> bool | None:
    """Return whether a window shows drift that costs something; None where it cannot tell."""
    if _ruled_out(window, bound):
        return False
    if not window["drift"]["alarm"]:
        return None if window["drift"]["p_value"] is None else False
    estimate = _figure(window, "estimate")
    return None if estimate is None else estimate["value"] > bound


def _untold(window: Facts) -> str:
    """Say why a window cannot tell."""
    return "drift, and no estimate of what it costs" if window["drift"]["alarm"] else f"drift not tested: {window['drift']['note']}"


def _ruled_out(window: Facts, bound: float) -> bool:
    """Return whether late labels say beyond doubt that no more than the bound is lost."""
    measured = _figure(window, "quality")
    return measured is not None and measured["high"] <= bound


def _labels(situation: Situation, settings: Policy) -> Check:
    bound, count = settings.new_labels, situation.new_labels
    if bound is None:
        return Check("labels", "off", "new labels are not a reason (policy.new_labels)")
    if count is None:
        return Check("labels", "unknown", "nobody knows how many labels are new", None, bound)
    words = f"{counted(count, 'new labelled row')} of {bound:,}"
    return Check("labels", "fires" if count >= bound else "quiet", words, count, bound)


def _age(situation: Situation, settings: Policy) -> Check:
    bound = settings.max_age_days
    if bound is None:
        return Check("age", "off", "age is not a reason (policy.max_age_days)")
    if situation.newest_row is None:
        return Check("age", "unknown", "nobody knows how old the training data is", None, bound)
    days = (situation.now - situation.newest_row) / DAY
    words = f"the newest training row is {days:,.0f} days old"
    return Check("age", "fires" if days > bound else "quiet", f"{words}, {'beyond' if days > bound else 'within'} {bound:g}", days, bound)


def _persistent(trigger: str, words: str, run: int, wanted: int, value: float | None, bound: float) -> Check:
    if run >= wanted:
        return Check(trigger, "fires", f"{words} in {counted(run, 'window')} in a row" if run > 1 else words, value, bound)
    return Check(trigger, "quiet", f"{words}, for {counted(run, 'window')} of the {wanted} in a row that count", value, bound)


def _stands(shown: Sequence[bool], wanted: int) -> bool:
    """Return whether a finding stands: as many windows in a row clear it as it takes to make it, for an estimate goes up and down."""
    stands, run = False, 0
    for one in shown:
        run = run + 1 if one != stands else 0
        if run >= wanted:
            stands, run = not stands, 0
    return stands


def _run(shown: Sequence[bool]) -> int:
    """Return how many of the last ones in a row are true."""
    return next((length for length, one in enumerate(reversed(shown)) if not one), len(shown))


def _figure(window: Facts, part: str) -> Mapping[str, float] | None:
    """Return the loss of a part of the facts, with its ends; None where it was not to be had."""
    loss = (window.get(part) or {}).get("loss")
    return loss if loss and all(loss.get(end) is not None for end in ("value", "low", "high")) else None


# What may hold


def holds(situation: Situation, settings: Policy) -> tuple[Hold, ...]:
    """Return what keeps a training from starting now."""
    found: list[Hold] = []
    if situation.running:
        found.append(Hold("running", f"retraining {situation.running} runs"))
    if situation.open_alert:
        found.append(Hold("open", f"alert {situation.open_alert} waits for its retraining already"))
    if (until := cooled_at(situation.starts, settings)) > situation.now:
        found.append(Hold("cooldown", f"the last retraining began less than {settings.cooldown_hours:g} hours ago", until))
    if (until := affordable_at(situation.starts, situation.now, settings)) > situation.now:
        words = f"the budget of {counted(settings.budget, 'retraining')} in {settings.budget_days:g} days is used up until {moment(until)}"
        found.append(Hold("budget", words, until))
    if situation.new_labels is not None and situation.new_labels < settings.min_labels:
        rows = counted(situation.new_labels, "new labelled row")
        found.append(Hold("labels", f"{rows} of the {settings.min_labels:,} without which no training starts"))
    return tuple(found)


def cooled_at(starts: Sequence[float], settings: Policy) -> float:
    """Return from when on the cooldown lets a retraining start; minus infinity where there was none."""
    return max(starts, default=float("-inf")) + settings.cooldown_hours * HOUR


def affordable_at(starts: Sequence[float], now: float, settings: Policy) -> float:
    """Return from when on the budget lets a retraining start: `now`, or when enough of those in the period have left it.

    A start in the future, by a clock that was wrong, counts as well.
    """
    recent = sorted(start for start in starts if start + settings.budget_days * DAY > now)
    over = len(recent) - settings.budget
    return now if over < 0 else recent[over] + settings.budget_days * DAY


def moment(seconds: float) -> str:
    """Return a point in time as people read it, in UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
