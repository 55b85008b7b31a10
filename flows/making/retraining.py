"""One retraining from its alert to its end: the slot is claimed, a version produced, and released where the gate says PROMOTE.

Whatever started it (an event, doubled or late; a schedule; a person), the claim in our own tables says whether it may run
(evergreen/monitoring/loop/slot.py). The slot is given back however it ends, and as soon as the verdict is on the ledger: a release may take
an hour of trial, and one that is killed is brought to its end by others (flows/running/tending.py). A run that is killed before loses the
slot with its lease. Works without Prefect.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from evergreen.config import Params
from evergreen.errors import ClaimLost, EvergreenError
from evergreen.monitoring.loop import alerts, slot
from evergreen.monitoring.loop.lease import kept
from evergreen.monitoring.loop.slot import Claim, Refusal
from flows.bridge.committed import committed
from flows.making.champion import Champion, champion_of
from flows.making.inputs import Gathered, gathered
from flows.making.keepsakes import keep
from flows.making.produce import Candidate, Order, produce
from flows.notify import notify
from flows.releasing.ledger import BY_ITSELF
from flows.releasing.ledger import opened as ledger_of
from flows.releasing.settle import live_model, settle
from flows.running import alerting
from flows.steps import Step

if TYPE_CHECKING:
    from sqlalchemy import Engine

FINAL = {"unknown", "taken", "done", "stale", "given up", "closed"}  # refusals after which there is nothing left to do
Say = Callable[[str], None]
Rows = tuple[Champion, Gathered]  # what is live, and the rows of the next data version
Release = Callable[[Path, Candidate, Params, str, str, Say], str]


@dataclass(frozen=True)
class Asked:
    """Who has asked for a retraining: an event's payload with its id, the moment a schedule was due, or a person, with their reason."""

    wanted: Mapping[str, Any] | None = None
    event: str | None = None
    schedule: str | None = None
    person: str | None = None
    why: str | None = None
    force: bool = False  # on a person's word: cooldown, budget and missing labels do not count


@dataclass(frozen=True)
class Outcome:
    """How it ended; `words` in one sentence. `candidate` is None where it was refused."""

    state: Literal["refused", "finished"]
    words: str
    refusal: Refusal | None = None
    candidate: Candidate | None = None
    released: str | None = None
    keepsakes: Path | None = None


def retraining(
    root: Path,
    asked: Asked,
    *,
    flow_run: str | None = None,
    step: Step,
    run: Callable[..., object],
    say: Say,
    release: Release | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Do one retraining, or say why not. What goes wrong in it is told to people, frees the slot, and is raised.

    `cancelled`: whether a person has cancelled this run, asked where it is ended from outside.
    """
    standing = committed(root, say)
    params, wrong = standing.params, standing.fault
    if wrong is not None and asked.person:
        raise wrong  # nothing is claimed yet, so that it costs whoever waits for an answer no cooldown
    with alerting.opened(root) as engine:
        person = f"{asked.person} asked for it{f': {asked.why}' if asked.why else ''}" if asked.person else None
        alert = alerting.wanted(engine, payload=asked.wanted, event=asked.event, schedule=asked.schedule, person=person)
        try:
            rows, fault = step("rows", lambda: _rows(root, params, engine, say))
            claim = slot.claim(
                engine,
                alert.id,
                holder=alerting.holder(flow_run),
                live=live_model(ledger_of(root)),
                settings=params.policy,
                new_labels=rows[1].unseen if rows else None,
                force=asked.force,
            )
        except BaseException as ended:  # nothing is claimed yet, but the alert is on record, and would start a retraining by itself
            closes, why = _closed_by(ended, asked, alert.id, cancelled)
            if closes:
                alerts.close(engine, alert.id, why)
            raise
        if isinstance(claim, Refusal):
            say(f"nothing is trained: {claim.because}")
            later = "" if claim.reason in FINAL else "; it stays on record, and is tried again by itself (`evergreen alerts`)"
            return Outcome("refused", f"not now: {claim.because}{later}", refusal=claim)
        say(f"retraining {claim.id}: {claim.because}")
        order, candidate = _claimed(
            root, asked, claim, engine, params, standing.commit, rows, wrong or fault, step=step, run=run, say=say, cancelled=cancelled
        )
    return _released(root, candidate, order, params, say, release)


def _claimed(
    root: Path,
    asked: Asked,
    claim: Claim,
    engine: "Engine",
    params: Params,
    code: str,
    rows: Rows | None,
    fault: EvergreenError | None,
    *,
    step: Step,
    run: Callable[..., object],
    say: Say,
    cancelled: Callable[[], bool],
) -> tuple[Order, Candidate]:
    """Do the work of a claim, and give the slot back."""
    try:
        with kept(engine, claim) as lease:

            def watched(folder: Path, stage: str, *, force: bool = False) -> object:
                lease.check()
                return run(folder, stage, force=True) if force else run(folder, stage)

            if fault is not None:
                raise fault
            order = _order(root, asked, claim, params, code, rows)
            candidate = produce(root, order, ledger=ledger_of(root), step=step, run=watched, say=say)
            lease.check()
        if not slot.finish(engine, claim, "finished", _result(candidate)):
            raise ClaimLost(f"the place of retraining {claim.id} was given to others; nothing is released")
        return order, candidate
    except Exception as broken:
        slot.finish(engine, claim, "failed", {"error": _said(broken)})
        notify(params.notify, "failure", f"retraining {claim.id} has failed", _said(broken), say=say)
        raise
    except BaseException as ended:  # from outside: it is not the model's fault, and may be done over at once, unless a person wants its end
        closes, why = _closed_by(ended, asked, claim.alert, cancelled)
        slot.finish(engine, claim, "stopped" if closes else "crashed", {"error": why}, closes=closes)
        raise


def _closed_by(ended: BaseException, asked: Asked, alert: str, cancelled: Callable[[], bool]) -> tuple[slot.Closes, str]:
    """Return which alerts a person has closed by ending a retraining for this one, and the reason in words."""
    if cancelled():
        return "all", alerting.CANCELLED
    if asked.person and isinstance(ended, KeyboardInterrupt):
        return (alert,), f"{asked.person} ended it with Ctrl-C"
    return (), "it was ended before it was done"


def _rows(root: Path, params: Params, engine: "Engine", say: Say) -> tuple[Rows | None, EvergreenError | None]:
    """Return champion and next data version; a fault waits until the slot is claimed, so that it is told once and the cooldown holds."""
    try:
        settle(root, say=say)  # a version that a killed release has made live has no name before that, and could be no champion
    except EvergreenError as fault:
        say(f"tags and ledger could not be brought up to what is live: {fault}")
    try:
        champion = champion_of(root)
        if champion is None:
            say("nothing is live yet: the first version is trained on the data as params.yaml has it")
            return None, None
        found = gathered(root, champion, params=params, engine=engine)
    except EvergreenError as fault:
        return None, fault
    say(f"{found.unseen:,} labelled rows that no training has seen; champion {champion.version} ({champion.model_version})")
    return (champion, found), None


def _order(root: Path, asked: Asked, claim: Claim, params: Params, code: str, rows: Rows | None) -> Order:
    champion, found = rows or (None, None)
    return Order(
        code=code,
        who=asked.person or BY_ITSELF,
        why=claim.because,
        champion=champion,
        gathered=found,
        facts={"retraining": claim.id, "alert": claim.alert, "alerts": len(claim.alerts), "trigger": claim.trigger},
        keep_worktree=params.release.keep_worktrees,
    )


def _released(root: Path, candidate: Candidate, order: Order, params: Params, say: Say, release: Release | None) -> Outcome:
    """Release what the gate promotes; return how it ended."""
    kept_in = _kept_for_a_look(root, candidate, say)
    verdict = candidate.verdict["verdict"]
    notify(params.notify, "verdict", f"model {candidate.model_version}: {verdict}", str(candidate.verdict["summary"]), say=say)
    words = f"model {candidate.model_version}: {candidate.verdict['summary']}"
    released = None
    if verdict == "PROMOTE" and release is not None:
        if params.release.automatic:
            released = _tried(release, root, candidate, params, order, say)
        else:
            released = f"it waits for a person: `evergreen promote {candidate.model_version}` (release.automatic is false)"
        say(released)
    words = f"{words} {released}" if released else words
    return Outcome("finished", words, candidate=candidate, released=released, keepsakes=kept_in)


def _tried(release: Release, root: Path, candidate: Candidate, params: Params, order: Order, say: Say) -> str:
    """Release, or say why it did not go: the model is made and on record, and training it again would not help."""
    try:
        return release(root, candidate, params, order.who, order.why, say)
    except EvergreenError as fault:
        again = f"it is on record; `evergreen promote {candidate.model_version}` tries again"
        notify(params.notify, "failure", f"the release of model {candidate.model_version} has failed", f"{fault}; {again}", say=say)
        return f"the release failed: {fault}; {again}"


def _kept_for_a_look(root: Path, candidate: Candidate, say: Say) -> Path | None:
    try:
        return keep(root, candidate)
    except (EvergreenError, OSError) as fault:  # no reason to lose a model
        say(f"its reports could not be kept for a look: {fault}")
        return None


def by_release_flow(root: Path, candidate: Candidate, params: Params, who: str, why: str, say: Say) -> str:
    """Make a promoted candidate live; return in words how that went."""
    from flows.release import release
    from flows.releasing.overtaken import Overtaken

    try:
        done = release(root, candidate.commit, who=who, why=why, settings=params.release, awaited=True, say=say)
    except Overtaken as others:
        return str(others)
    return done.words if done.live else f"{done.version.name}: {done.words}"


def _result(found: Candidate) -> dict[str, Any]:
    return {
        "commit": found.commit,
        "model_version": found.model_version,
        "verdict": found.verdict["verdict"],
        "summary": found.verdict["summary"],
    }


def _said(fault: BaseException) -> str:
    return str(fault) or type(fault).__name__
