"""May a version go live? On the gate's PROMOTE, or a person's word while it lasts; never where its tag was moved."""

import time
from dataclasses import dataclass
from datetime import datetime

from evergreen.errors import ReleaseError
from evergreen.release.ledger import Ledger
from evergreen.release.registry import Version
from flows.releasing.settle import overrides


@dataclass(frozen=True)
class Override:
    """A person's word that a version may go live against the gate's verdict, until a moment (seconds since 1970)."""

    who: str
    why: str
    until: float


def refuse_tampered(ledger: Ledger, commit: str) -> None:
    """Refuse a version whose tag is not where the ledger says."""
    version = ledger.registry.version_of(commit)
    if version is None:
        return
    told = next((entry for entry in ledger.read() if entry.version == version.name and entry.commit), None)
    if told is not None and told.commit != commit:
        raise ReleaseError(
            f"{version.name} points to {commit[:12]}, but line {told.number} of the ledger says {str(told.commit)[:12]}: it was moved. "
            f"See `evergreen ledger verify`; to put it back: git tag -f -a {ledger.registry.artifact}@{version.name} {told.commit}"
        )


def permit(ledger: Ledger, commit: str, *, model_version: str, verdict: str, override: Override | None = None) -> None:
    """Refuse what the gate has not promoted, where no person stands up for it."""
    if verdict == "PROMOTE":
        return
    if override is not None:
        if override.until <= time.time():
            raise ReleaseError(f"an override ends in the future; {_when(override.until)} is past")
        return
    known = overrides(ledger.read(), commit)
    until = float(known.facts["until"]) if known else 0.0
    if until > time.time():
        return
    ended = f"; the override by {known.who} ended {_when(until)}" if known else ""
    raise ReleaseError(
        f"the gate says {verdict} of model {model_version}{ended}: see its dossier. To make it live all the same, say on whose "
        f"word, why, and until when: evergreen promote {commit[:12]} --who NAME --why REASON --until 14d"
    )


def refuse_ended(ledger: Ledger, version: Version | None) -> None:
    """Refuse to go back to a version that has been live on a person's word alone, once that has ended."""
    known = overrides(ledger.read(), version.commit) if version else None
    if version is not None and known is not None:
        permit(ledger, version.commit, model_version=version.model_version, verdict=str(known.facts["verdict"]))


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")
