"""How a version goes live: its commit is tagged, its Bento fetched and signed, the service swapped, and all of it told to the ledger.

What a killed run leaves half told is told by the next one (`flows/releasing/settle.py`). Knows nothing of how a version is produced,
and needs no Prefect.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evergreen.errors import RegistryError, ReleaseError
from evergreen.monitoring.log.records import new_id
from evergreen.release.control import running
from evergreen.release.intent import Intent
from evergreen.release.ledger import Entry, Event, Ledger
from evergreen.release.live import Live, Place, first
from evergreen.release.manifest import MANIFEST, SIGNATURE, verify
from evergreen.release.registry import Version
from flows import HOME
from flows.bridge.remote import fetch, output
from flows.releasing import trials
from flows.releasing.ledger import BY_ITSELF, RELEASE_KEY, SIGNING, opened
from flows.releasing.overtaken import leave, passed_over, refuse_overtaken
from flows.releasing.permission import Override, permit, refuse_ended, refuse_tampered
from flows.releasing.scratch import scratch
from flows.releasing.settle import (
    STATE,
    Later,
    Say,
    alone,
    announce,
    intents,
    settled,
    swapped,
    used,
    version_of_model,
)
from flows.request_log import log_url

if TYPE_CHECKING:
    from evergreen.sections.loop import Release

PACKAGE, BENTO = "package", "bento"
SERVICE, ARTIFACT = Path("src") / "service.json", Path("src") / "artifact" / "artifact.json"


@dataclass(frozen=True)
class Released:
    """How it ended: the version, whether it is live now, and why not if it is not."""

    version: Version
    live: bool
    words: str
    entry: Entry | None = None
    trial: Mapping[str, Any] = field(default_factory=dict)


def release(
    root: Path,
    commit: str,
    *,
    who: str,
    why: str,
    event: Event = "promotion",
    override: Override | None = None,
    settings: "Release | None" = None,
    facts: Mapping[str, Any] | None = None,
    awaited: bool = False,
    say: Say = print,
) -> Released:
    """Make a commit's version live; where `settings` ask for a trial, only after it, and not where a guardrail breaks.

    Raises ReleaseError where it may not (its verdict is not PROMOTE, and nobody stands up for it) or cannot; then what was live still is.
    `awaited`: only while the ledger waits for this very release; Overtaken is raised where it came about, or was overruled, meanwhile.
    """
    ledger = opened(root)
    commit = ledger.registry.resolve(commit)
    refuse_tampered(ledger, commit)
    with ExitStack() as trial_lock:
        with _fetched(root, commit, say) as bento, alone(f"a {event} of {commit[:12]}", say) as later:
            settled(ledger, say, later)
            told = _about(bento)
            if awaited:
                refuse_overtaken(ledger, commit, told.digest, say, later)
            permit(ledger, commit, model_version=told.model_version, verdict=told.verdict, override=override)
            known = ledger.registry.version_of(commit)
            intent = Intent(
                change=new_id(), event=event, model_version=told.model_version, version=known.name if known else None, commit=commit,
                who=who, why=why, facts={**(facts or {}), "verdict": told.verdict, "bento": told.digest}, breaking=_breaking(bento),
            )  # fmt: skip
            if override is not None:
                intent = _override(ledger, intent, override)
            _sign(bento, say)
            if settings is None or not _to_be_tried(settings, told):
                return _go_live(ledger, bento, intent, say, later)
            trial_lock.enter_context(trials.watched(STATE, Place(HOME), told.digest))
            trial = trials.begin(Place(HOME), bento, settings, say)
        return _after_trial(root, trial, settings, intent, say)


def _after_trial(root: Path, trial: Live, settings: "Release", intent: Intent, say: Say) -> Released:
    """Watch a trial, end it, and make the challenger live where it held; others may change what is live meanwhile."""
    try:
        outcome = trials.watch(Place(HOME), trial, settings, log_url(), say)
    except BaseException:  # an unwatched trial must not go on
        with alone("the end of a trial", say):
            trials.end(Place(HOME), trial, say)
        raise
    with alone(f"the end of a trial, a {intent.event} of {(intent.commit or '')[:12]}", say) as later:
        ledger, place = opened(root), Place(HOME)
        unchanged = trials.end(place, trial, say)
        told = trials.described(outcome)
        if outcome.cut_short or not unchanged:
            ended_by = outcome.cut_short or "another version went live"
            raise ReleaseError(f"model {intent.model_version} was not released: {ended_by} during its {settings.trial}")
        if outcome.broken:
            version = _named(ledger, intent)
            why = f"its {settings.trial} was ended: {'; '.join(outcome.broken)}"
            entry = ledger.append(
                "verdict", who=BY_ITSELF, why=why, version=version.name, model_version=version.model_version, commit=version.commit,
                facts={"verdict": "HOLD", "trial": told},
            )  # fmt: skip
            later.append(lambda: announce(ledger, f"{version.name} was not released", why, say))
            return Released(version, False, why, entry, told)
        settled(ledger, say, later)
        assert trial.trial is not None
        tried = replace(intent, facts={**intent.facts, "trial": told})
        others = passed_over(ledger.read(), intent.commit) if settings.automatic else []
        done = _go_live(ledger, place.bento(trial.trial.release), tried, say, later)
        for other in others if done.live else []:
            leave(ledger, other, f"it was judged during the trial of {done.version.name}, which went live", say, later)
        return done


def roll_back(root: Path, *, who: str, why: str, say: Say = print) -> Live:
    """Make the version before this one live again. The service comes first: where git cannot be written, the ledger is told later."""
    with alone("a rollback", say) as later:
        place = Place(HOME)
        before = place.read()
        if before is None:
            raise ReleaseError(f"nothing has been live in {HOME} yet")
        back = before.rolled_back().champion
        ledger, version, kept = None, None, True
        try:
            ledger = used(root)
            kept = ledger is not None
            if ledger is not None:
                settled(ledger, say, later)
                version = version_of_model(ledger, back.version)
                refuse_ended(ledger, version)
        except RegistryError as fault:
            say(f"the registry cannot be used now: {fault}")
        name, commit = (version.name, version.commit) if version else (None, None)
        intents().write(Intent(new_id(), "rollback", back.version, name, commit, who=who, why=why, facts={"bento": back.digest}))
        after = swapped(place, {"command": "rollback"}, lambda: before.rolled_back(), say)
        if not kept:
            intents().clear()
            return after
        try:
            ledger = ledger or used(root)
            if ledger is not None:
                settled(ledger, say, later)
        except RegistryError as fault:
            say(f"it is done, and the ledger will be told by the next run: {fault}")
        return after


@dataclass(frozen=True)
class _Told:
    model_version: str
    digest: str
    verdict: str


def _about(bento: Path) -> _Told:
    verified = verify(bento)
    return _Told(verified.version, verified.digest, str(json.loads((bento / SERVICE).read_text(encoding="utf-8"))["verdict"]))


@contextmanager
def _fetched(root: Path, commit: str, say: Say) -> Iterator[Path]:
    """Give the Bento of a commit, every byte as the commit pins it, in a folder that goes at the end. A remote may be slow, or hang."""
    with scratch(STATE / BENTO) as folder:
        say(f"fetching the Bento of {commit[:12]}")
        yield fetch(root, commit, output(root, commit, PACKAGE, BENTO), folder / BENTO)


def _override(ledger: Ledger, intent: Intent, override: Override) -> Intent:
    """Tell of an override; return the intent with the version that it stands up for."""
    version = _named(ledger, intent)
    facts = {"until": override.until, "verdict": intent.facts["verdict"]}
    about: dict[str, Any] = {"version": version.name, "model_version": intent.model_version, "commit": version.commit}
    ledger.append("override", who=override.who, why=override.why, facts=facts, **about)
    return replace(intent, version=version.name)


def _breaking(bento: Path) -> bool:
    """Say whether the labels differ from those of the live version: whoever reads the answers must know."""
    live = Place(HOME).read()
    if live is None:
        return False
    try:
        labels = [
            json.loads((folder / ARTIFACT).read_text(encoding="utf-8"))["labels"] for folder in (Place(HOME).bento(live.champion), bento)
        ]
    except (OSError, ValueError, KeyError):
        return False
    return bool(labels[0] != labels[1])


def _named(ledger: Ledger, intent: Intent) -> Version:
    """Return the version of an intent's commit, named now where it has no name; a line of the ledger has to follow."""
    assert intent.commit is not None
    return ledger.registry.register(intent.commit, model_version=intent.model_version, why=intent.why, breaking=intent.breaking)


def _sign(bento: Path, say: Say) -> None:
    """Sign a Bento where there is a key to do it with."""
    key = SIGNING / f"{RELEASE_KEY}.pem"
    if key.exists():
        from evergreen.release.signing import sign

        sign(bento / MANIFEST, bento / SIGNATURE, key)
        say(f"signed by {RELEASE_KEY}")


def _to_be_tried(settings: "Release", told: _Told) -> bool:
    """Say whether there is to be a trial: one is asked for, and there is a champion that answers, and another one."""
    live = Place(HOME).read()
    return settings.trial != "none" and live is not None and live.champion.version != told.model_version and running(Place(HOME))


def _go_live(ledger: Ledger, bento: Path, intent: Intent, say: Say, later: Later) -> Released:
    """Write down what is wanted, swap, tell. Where the swap is refused the intent stays, for a service that is slow to do it yet."""
    intents().write(intent)
    place = Place(HOME)
    after = swapped(place, {"command": "swap", "bento": str(bento.resolve())}, lambda: _admitted(place, bento), say)
    entries = settled(ledger, say, later)
    entry = next((one for one in entries if one.facts.get("change") == intent.change), None)
    version = ledger.registry.version_of(intent.commit or "") or version_of_model(ledger, intent.model_version) or _named(ledger, intent)
    words = f"{version.name} is live" if entry else f"{version.name} was live already"
    return Released(version, after.champion.version == intent.model_version, words, entry)


def _admitted(place: Place, bento: Path) -> Live:
    """Return the pointer with a Bento's version as champion."""
    admitted, before = place.admit(bento), place.read()
    if before is None:
        return first(admitted)
    return before if before.champion == admitted else before.promoted(admitted)
