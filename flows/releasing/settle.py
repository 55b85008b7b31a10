"""Tags and ledger follow what is live: what a killed run has done is told to its end, what was changed by hand is found.

One change at a time on a machine. What is going to be done is written down first (`evergreen/release/intent.py`); `settle` tags and writes
what has happened, and never does what has not. Knows nothing of Bentos or gates.
"""

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from evergreen.errors import ConfigError, EvergreenError, RegistryError
from evergreen.monitoring.log.records import new_id
from evergreen.release.control import SECONDS, ask, running
from evergreen.release.intent import Intent, IntentFile
from evergreen.release.ledger import GOES_LIVE, Entry, Ledger
from evergreen.release.live import Live, Place
from evergreen.release.registry import Version
from flows import HOME
from flows.bridge.committed import params_of
from flows.releasing import trials
from flows.releasing.ledger import opened

Say = Callable[[str], None]
Later = list[Callable[[], None]]
STATE = HOME / "release"
UNKNOWN, NOTICED = "unknown", "what is live was changed outside of the registry, and noticed later"


@contextmanager
def alone(what: str, say: Say = print) -> Iterator[Later]:
    """Wait until no other process of this machine changes what is live, saying for whom, and keep others waiting.

    Nothing that may hang belongs in here: an emergency waits for it. What is put off until `later` is done when others may go on.
    """
    STATE.mkdir(parents=True, exist_ok=True, mode=0o700)
    later: Later = []
    try:
        with (STATE / "lock").open("a+", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                say(f"waiting for {lock.read().strip() or 'another process'}: one change of what is live at a time")
                fcntl.flock(lock, fcntl.LOCK_EX)
            lock.truncate(0)
            lock.write(f"process {os.getpid()} ({what})\n")
            lock.flush()
            yield later
    finally:
        for tell in later:
            tell()


def settle(root: Path, *, who: str = UNKNOWN, why: str = NOTICED, say: Say = print) -> list[Entry]:
    """Bring tags and ledger up to what is live: tell what a killed run has done, and what was changed by hand; return the new lines.

    `who` and `why` are told of a change that nobody had announced. Does nothing where no registry is in use.
    """
    with alone("bringing the ledger up to date", say) as later:
        ledger = used(root)
        return settled(ledger, say, later, who=who, why=why) if ledger is not None else []


def pending(entries: list[Entry]) -> Entry | None:
    """Return the newest PROMOTE that has been followed by no release: of a run that was killed, or one that waits for a person.

    What was live before the verdict, and was told only after it, overrules nothing.
    """
    newest = {entry.commit: entry for entry in entries if entry.event == "verdict"}
    promoted = [entry for entry in newest.values() if entry.facts.get("verdict") == "PROMOTE"]
    waiting = max(promoted, key=lambda entry: entry.number, default=None)
    if waiting is None or any(_followed(waiting, entry) for entry in entries):
        return None
    return waiting


def _followed(verdict: Entry, entry: Entry) -> bool:
    """Say whether a line tells of a version that went live after a verdict; the pointer counts in whole seconds."""
    return entry.event in GOES_LIVE and entry.number > verdict.number and entry.since >= int(verdict.moment)


def overrides(entries: list[Entry], commit: str | None) -> Entry | None:
    """Return the newest override of a commit, whether it has ended or not."""
    return next((entry for entry in reversed(entries) if entry.event == "override" and entry.commit == commit), None)


def settled(ledger: Ledger, say: Say, later: Later, *, who: str = UNKNOWN, why: str = NOTICED) -> list[Entry]:
    """Do the same for a ledger at hand; the caller holds `alone`, and tells people of it `later`."""
    trials.sweep(STATE, Place(HOME), say)
    live, intent = Place(HOME).read(), intents().read()
    if live is None:
        return []
    entries: list[Entry] = []
    change = untold(ledger, live, intent, who=who, why=why)
    if change is not None:
        told = _told(ledger)
        facts = {"since": datetime.fromisoformat(live.since).timestamp(), "replaced": told.version if told else None}
        if change.event == "found":
            entries.append(_tell(ledger, change, {**facts, "bento": live.champion.digest}))
            say(f"{change.model_version} is live, and the ledger did not know: told as found")
        else:
            entries.append(_tell(ledger, change, {**change.facts, "change": change.change, **facts}))
    for entry in entries:
        title, body = f"{entry.version or entry.model_version} is live", f"{entry.event} by {entry.who}: {entry.why}"
        later.append(partial(announce, ledger, title, body, say))
    if intent is None or intent.model_version == live.champion.version or intents().age() > SECONDS:
        intents().clear()  # a younger one may still come true: the service finishes what it was asked by a process that is gone
    return entries


def untold(ledger: Ledger, live: Live, intent: Intent | None, *, who: str = UNKNOWN, why: str = NOTICED) -> Intent | None:
    """Return the change that made live what is live, where no line tells of it yet: as it was announced, or else as found."""
    told, champion = _told(ledger), live.champion.version
    wanted = intent is not None and intent.model_version == champion
    known = told is not None and told.model_version == champion and told.since >= datetime.fromisoformat(live.since).timestamp()
    if told is not None and told.commit is None and intent is not None and wanted and intent.commit:
        known = False  # it was live before it had a commit
    if known:
        return None
    version = version_of_model(ledger, champion)
    if intent is not None and wanted:
        if intent.commit is None and version is not None:  # it was written where the registry could not be asked
            return replace(intent, version=version.name, commit=version.commit)
        return intent
    # Made live by a release that nobody waited for to its end: it has no name yet, and gets one with its line.
    commit = next((entry.commit for entry in reversed(ledger.read()) if entry.model_version == champion and entry.commit), None)
    name, commit = (version.name, version.commit) if version else (None, commit)
    return Intent(new_id(), "found", champion, name, commit, who=who, why=why)


def commit_untold(ledger: Ledger) -> str | None:
    """Return the commit that is live here, but not told of yet: tags may name it before the ledger does. None where nobody can say."""
    with suppress(EvergreenError):  # a damaged ledger or pointer
        live = Place(HOME).read()
        change = untold(ledger, live, intents().read()) if live else None
        return change.commit if change else None
    return None


def _told(ledger: Ledger) -> Entry | None:
    return next((entry for entry in reversed(ledger.read()) if entry.event in GOES_LIVE), None)


def announce(ledger: Ledger, title: str, body: str, say: Say) -> None:
    """Tell people of a release, where params.yaml says so."""
    from flows.notify import notify

    with suppress(ConfigError):  # told by every command that needs the file
        notify(params_of(ledger.registry.git.root).notify, "release", title, body, say=say)


def _tell(ledger: Ledger, intent: Intent, facts: Mapping[str, Any]) -> Entry:
    """Name and tag what is live, and write the line; a run that is killed in between leaves the pointer, by which the next one goes on."""
    register, version = ledger.registry.register, None
    if intent.commit:
        version = register(intent.commit, model_version=intent.model_version, why=intent.why, breaking=intent.breaking)
    if version is not None and ledger.registry.live() != version:
        ledger.registry.assign(version, why=intent.why)
    return ledger.append(
        intent.event,  # type: ignore[arg-type]
        who=intent.who,
        why=intent.why,
        version=version.name if version else intent.version,
        model_version=intent.model_version,
        commit=intent.commit,
        lands=None if ledger.registry.head() else ledger.registry.resolve(intent.commit or "HEAD"),  # the branch begins somewhere
        facts=facts,
    )


def used(root: Path) -> Ledger | None:
    """Return the ledger where one is kept; None where a service is run without a registry."""
    from evergreen.release.registry import Registry

    try:
        return opened(root) if Registry(root).head() else None
    except RegistryError as fault:
        if "not a git repository" in str(fault):
            return None
        raise


def version_of_model(ledger: Ledger, model_version: str) -> Version | None:
    """Return the newest version that is a model, if it has one."""
    return next((version for version in reversed(ledger.registry.versions()) if version.model_version == model_version), None)


def live_model(ledger: Ledger) -> str | None:
    """Return the version of the model that is live: as the service's pointer says, or the registry where there is no pointer."""
    pointer = Place(HOME).read()
    if pointer is not None:
        return pointer.champion.version
    live = ledger.registry.live()
    return live.model_version if live else None


def swapped(place: Place, command: dict[str, Any], by_hand: Callable[[], Live], say: Say) -> Live:
    """Change what is live: through the service, or in the pointer where none runs."""
    if running(place):
        ask(place, command, say=say)
    else:
        place.write(by_hand())
        say("no service runs; it will be live when one starts")
    after = place.read()
    assert after is not None
    return after


def intents() -> IntentFile:
    """Return the file of what is being done."""
    return IntentFile(STATE / "intent.json")
