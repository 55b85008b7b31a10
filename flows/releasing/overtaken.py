"""What was decided while a release that comes by itself was on its way: it may be done already, overruled, or another one's turn.

A person's release asks none of this. Knows nothing of Bentos and of the gate.
"""

from typing import Any

from evergreen.errors import ReleaseError
from evergreen.release.ledger import GOES_LIVE, Entry, Ledger
from flows.releasing import trials
from flows.releasing.ledger import BY_ITSELF
from flows.releasing.settle import STATE, Later, Say, announce, live_model, pending


class Overtaken(ReleaseError):
    """A release that nobody needs any more, or not yet: another run has done it or is at it, something else went live, or is on trial."""


def refuse_overtaken(ledger: Ledger, commit: str, digest: str, say: Say, later: Later) -> None:
    """Raise Overtaken unless the ledger waits for this very release; what was judged against another champion is left to a person."""
    _refuse_done(ledger, commit, digest)
    _refuse_of_another_champion(ledger, commit, say, later)


def _refuse_done(ledger: Ledger, commit: str, digest: str) -> None:
    entries = ledger.read()
    live, waiting = next((entry for entry in reversed(entries) if entry.event in GOES_LIVE), None), pending(entries)
    if live is not None and live.commit == commit:
        raise Overtaken(f"commit {commit[:12]} is live already: another run has released it")
    if waiting is None or waiting.commit != commit:
        raise Overtaken(f"commit {commit[:12]} is not released: since its verdict something else was decided; see `evergreen ledger show`")
    if trials.under_way(STATE):
        if trials.noted(STATE) == digest:
            raise Overtaken(f"commit {commit[:12]} is being released by another run")
        words = f"`evergreen up` releases it after that, a person by `evergreen promote {commit[:12]}`"
        raise Overtaken(f"commit {commit[:12]} waits until the trial of another version has ended: {words}")


def _refuse_of_another_champion(ledger: Ledger, commit: str, say: Say, later: Later) -> None:
    """Leave to a person what was judged against a version that is no longer live: whoever changed that did not know of this verdict."""
    entries, live = ledger.read(), live_model(ledger)
    made = next((entry for entry in reversed(entries) if entry.event == "candidate" and entry.commit == commit), None)
    verdict = next(entry for entry in reversed(entries) if entry.event == "verdict" and entry.commit == commit)
    if made is None or "champion" not in made.facts:
        return
    champion = made.facts["champion"]
    if (champion["model_version"] if champion else None) == live:
        return
    then = f"{champion['version']} (model {champion['model_version']})" if champion else "nothing"
    why = f"it was judged against {then}, and now {f'model {live}' if live else 'nothing'} is live"
    leave(ledger, verdict, why, say, later)
    raise Overtaken(f"commit {commit[:12]} is left to a person: {why}; to release it: evergreen promote {commit[:12]}")


def leave(ledger: Ledger, verdict: Entry, why: str, say: Say, later: Later) -> None:
    """Leave a PROMOTE to a person: no run releases it by itself any more, and people are told."""
    about: dict[str, Any] = {"model_version": verdict.model_version, "commit": verdict.commit}
    ledger.append("verdict", who=BY_ITSELF, why=why, facts={"verdict": "HOLD"}, **about)
    name, command = verdict.model_version or (verdict.commit or "")[:12], f"evergreen promote {(verdict.commit or '')[:12]}"
    later.append(lambda: announce(ledger, f"model {name} is left to a person", f"{why}; to release it: {command}", say))


def passed_over(entries: list[Entry], commit: str | None) -> list[Entry]:
    """Return each PROMOTE that is newer than a commit's own verdict, and waits: it is overtaken where that commit goes live."""
    verdict = next((entry.number for entry in reversed(entries) if entry.event == "verdict" and entry.commit == commit), len(entries))
    found = []
    while (newest := pending(entries)) is not None and newest.number > verdict:
        found.append(newest)
        entries = [entry for entry in entries if entry.commit != newest.commit]
    return found
