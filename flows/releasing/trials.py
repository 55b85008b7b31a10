"""A trial with guardrails: a challenger beside the champion for a while, watched, and ended at once where a guardrail breaks.

What the challenger answers is read from the request log, what it fails to answer from the service's own metrics. Decides nothing:
`evergreen/release/guardrails.py` does.
"""

import fcntl
import json
import re
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evergreen.access import FILE, KeyFile, Permission
from evergreen.errors import EvergreenError, LogError, ReleaseError
from evergreen.monitoring.log.records import new_id
from evergreen.release.control import ask, running
from evergreen.release.guardrails import Seen, broken, unheard
from evergreen.release.live import Live, Place

if TYPE_CHECKING:
    from evergreen.sections.loop import Release

Say = Callable[[str], None]
LOOKS = 60  # in a trial, but never more often than every SECONDS_BETWEEN
SECONDS_BETWEEN = 2.0
LOST = re.compile(r'^evergreen_(failures|shadow_lost)_total\{reason="([^"]*)",version="([^"]*)"\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: guardrails that broke, or why it could not be brought to its end; and its figures."""

    broken: list[str] = field(default_factory=list)
    cut_short: str | None = None
    figures: dict[str, Any] = field(default_factory=dict)


@contextmanager
def watched(state: Path, place: Place, digest: str) -> Iterator[None]:
    """Hold the lock by which others know that the trial of a Bento is watched by a living process; raise where another one is.

    A note says which trial it is, for whoever comes after a kill; it goes with the trial.
    """
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (state / "trial.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ReleaseError("another version is on trial for its release; let it end, or end it: evergreen live") from None
        _note(state).write_text(digest, encoding="utf-8")
        try:
            yield
        finally:
            if not _on_trial(place, digest):  # one that could not be ended is left to `sweep`
                _note(state).unlink(missing_ok=True)


def under_way(state: Path) -> bool:
    """Say whether a living process watches a trial."""
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (state / "trial.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def noted(state: Path) -> str | None:
    """Return the digest of the Bento whose trial was begun last and has not ended."""
    try:
        return _note(state).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _note(state: Path) -> Path:
    return state / "trial"


def _on_trial(place: Place, digest: str) -> bool:
    live = place.read()
    return live is not None and live.trial is not None and live.trial.release.digest == digest


def sweep(state: Path, place: Place, say: Say) -> None:
    """End the trial that a killed release has left behind, unwatched; one that a person has begun since is left alone."""
    if not _note(state).exists():
        return
    with (state / "trial.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if running(place) and _on_trial(place, _note(state).read_text(encoding="utf-8")):
            ask(place, {"command": "trial", "bento": None, "mode": "shadow", "share": 0.0}, say=say)
            say("the trial that a killed release has left is ended")
        _note(state).unlink(missing_ok=True)


def begin(place: Place, bento: Path, settings: "Release", say: Say) -> Live:
    """Put a Bento beside the champion; return the pointer as it is then."""
    share = settings.trial_share if settings.trial == "canary" else 0.0
    ask(place, {"command": "trial", "bento": str(bento.resolve()), "mode": settings.trial, "share": share}, say=say)
    live = place.read()
    assert live is not None
    return live


def end(place: Place, trial: Live, say: Say) -> bool:
    """End a trial, where it is still the one that was begun; say whether the champion is still the one it was."""
    live = place.read()
    if live is not None and live.trial is not None and live.trial == trial.trial:
        ask(place, {"command": "trial", "bento": None, "mode": "shadow", "share": 0.0}, say=say)
    return live is not None and live.champion == trial.champion


def watch(place: Place, trial: Live, settings: "Release", url: str, say: Say) -> Outcome:
    """Look at a trial until its time is over or a guardrail breaks."""
    began = time.time()
    deadline = time.monotonic() + settings.trial_minutes * 60
    every = max(SECONDS_BETWEEN, settings.trial_minutes * 60 / LOOKS)
    say(f"{settings.trial} for {settings.trial_minutes:g} minutes")
    with _failures(place, trial) as failures:
        while True:
            time.sleep(max(0.0, min(every, deadline - time.monotonic())))
            now = place.read()
            if now is None or now.trial != trial.trial or now.champion != trial.champion:
                return Outcome(cut_short="somebody else changed what is live, or ended it")
            seen = look(url, trial, began, failures())
            if words := broken(seen, settings):
                return Outcome(broken=words, figures=seen.report())
            if time.monotonic() >= deadline:
                if not seen.answers and (texts := asked(url, began)):
                    return Outcome(broken=[unheard(texts)], figures=seen.report())
                say(f"{seen.answers:,} answers, {seen.failed:,} failures; every guardrail held")
                return Outcome(figures=seen.report())


def asked(url: str, since: float) -> int:
    """Return how many texts callers had answered since a moment; 0 where the request log cannot say."""
    from evergreen.monitoring.trials import trial as on_record
    from flows.request_log import opened

    try:
        with opened(url) as engine, engine.connect() as connection:
            return on_record.asked(connection, since)
    except LogError:
        return 0


def look(url: str, trial: Live, since: float, failed: int) -> Seen:
    """Return a trial as the request log holds it."""
    from evergreen.monitoring.trials import trial as on_record
    from evergreen.monitoring.trials.comparison import compare_arms, compare_pairs
    from flows.request_log import opened

    assert trial.trial is not None
    mode, challenger, champion = trial.trial.mode, trial.trial.release.version, trial.champion.version
    try:
        with opened(url) as engine, engine.connect() as connection:
            found = on_record.find_trial(connection, since=since, mode=mode, challenger=challenger, champion=champion)
            if mode == "shadow":
                comparison = compare_pairs(found, on_record.pairs(connection, found))
            else:
                arms = (on_record.arm(connection, found, challenger=which) for which in (False, True))
                comparison = compare_arms(found, *arms)
    except LogError:  # nobody has asked anything yet, or the database is away: then only failures are known
        return Seen(None, None, failed)
    return Seen(comparison.champion, comparison.challenger, failed)


@contextmanager
def _failures(place: Place, trial: Live) -> Iterator[Callable[[], int]]:
    """Give a count of what the challenger did not answer since now; a front that was restarted counts from 0 again."""
    keys = KeyFile(place.home / FILE)
    may: tuple[Permission, ...] = ("read",)
    key, secret = keys.create(f"trial {new_id()[:18]}", may) if keys.all() else (None, None)
    try:
        last, total = _lost(place, trial, secret), 0

        def count() -> int:
            nonlocal last, total
            try:
                now = _lost(place, trial, secret)
            except (OSError, EvergreenError):  # the front is being restarted; the next look tells
                return total
            total, last = total + (now - last if now >= last else now), now
            return total

        yield count
    except OSError as fault:
        raise ReleaseError(f"the service's metrics cannot be read, without which no trial is guarded: {fault}") from None
    finally:
        if key is not None:
            keys.revoke(key.id)


def _lost(place: Place, trial: Live, secret: str | None) -> int:
    assert trial.trial is not None
    address = str(ask(place, {"command": "live"})["address"]).replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
    request = urllib.request.Request(f"{address}/metrics", headers={"authorization": f"Bearer {secret}"} if secret else {})
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # our own service, on this machine, under whatever name
    with urllib.request.urlopen(request, timeout=10, context=context if address.startswith("https") else None) as answer:
        page = answer.read().decode()
    wanted = ("failures", None, "challenger") if trial.trial.mode == "canary" else ("shadow_lost", "failed", trial.trial.release.version)
    return sum(
        int(float(count))
        for metric, reason, version, count in LOST.findall(page)
        if (metric, version) == (wanted[0], wanted[2]) and wanted[1] in (None, reason)
    )


def described(outcome: Outcome) -> dict[str, Any]:
    """Return a trial's outcome as the ledger keeps it."""
    return json.loads(json.dumps({"broken": outcome.broken, **outcome.figures}))  # type: ignore[no-any-return]
