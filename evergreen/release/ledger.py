"""The ledger: who made which version live, when, why, and on whose word; append-only, hash-chained, signed.

`ledger.jsonl` on the registry's branch has one line of JSON per entry. A line carries the sha256 of the line before it and an Ed25519
signature over all its other fields, so that nothing can be changed, taken out or put in between without it being seen.
An entry is one commit, made by compare and swap: several processes may append at once, and each line follows the one before.
Knows nothing of how a version is produced, or of the service that answers.
"""

import json
import os
import random
import time as clock
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from math import inf
from pathlib import Path
from typing import Any, Literal, get_args

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from evergreen.errors import RegistryError, ReleaseError
from evergreen.release.assignments import assignment_faults
from evergreen.release.registry import STAGE, Registry
from evergreen.release.signing import check_signature, signed

LEDGER = "ledger.jsonl"
Event = Literal["candidate", "verdict", "promotion", "rollback", "override", "found"]
EVENTS = get_args(Event)
GOES_LIVE = ("promotion", "rollback", "found")  # `found`: live was changed by hand, and noticed later
NOT_SIGNED, NOT_TRUSTED = "it is not signed", "it was not signed by a key that is trusted here"
FIRST = "0" * 64
TRIES = 200
LONGEST_WAIT = 0.2  # seconds between two tries


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the ledger. `previous` is the sha256 of the line before it, `facts` what the event needs told besides.

    Where the event makes a version live, `facts["since"]` says since when, in seconds since 1970; `time` is when the line was written.
    """

    number: int
    time: str
    event: str
    version: str | None
    model_version: str | None
    commit: str | None
    who: str
    why: str
    facts: dict[str, Any] = field(hash=False)
    previous: str
    key_id: str | None
    signature: str | None

    @property
    def moment(self) -> float:
        """When the line was written, in seconds since 1970."""
        return datetime.fromisoformat(self.time).timestamp()

    @property
    def since(self) -> float:
        """Since when what it tells is so, in seconds since 1970."""
        return float(self.facts.get("since") or self.moment)


class Ledger:
    """The ledger of a registry, signed with a key file (None: unsigned, which `verify` will name).

    `memory` is a file outside git that remembers the newest line written here: without it, lines cut off the end would not be missed.
    """

    def __init__(self, registry: Registry, key: Path | None = None, memory: Path | None = None) -> None:
        self.registry, self.key, self.memory = registry, key, memory

    def append(
        self,
        event: Event,
        *,
        who: str,
        why: str,
        version: str | None = None,
        model_version: str | None = None,
        commit: str | None = None,
        facts: Mapping[str, Any] | None = None,
        lands: str | None = None,
        once: bool = False,
    ) -> Entry:
        """Add a line, and return it. `lands` is a commit that becomes part of the branch, with its tree, in the same step.

        With `once`, an entry of this event for this commit that is there already is returned instead: a run that is done over after
        a crash writes nothing twice. Raises RegistryError when others keep coming in between, or the branch cannot be moved.
        """
        if event not in EVENTS or not who.strip() or not why.strip():
            raise RegistryError(f"a line of the ledger needs an event ({', '.join(EVENTS)}), who and why; got {event!r}, {who!r}, {why!r}")
        told = {"event": event, "version": version, "model_version": model_version, "commit": commit, "who": who, "why": why}
        for _ in range(TRIES):
            head = self.registry.head()
            raw = self._raw(head)
            if once and (known := _known(raw, event, commit)):
                return known
            line = self._line(raw, {**told, "facts": dict(facts or {})})
            ground = lands or head or commit
            if ground is None:
                raise RegistryError("the first line of a ledger needs the commit that it is about")
            made = self.registry.commit(
                {LEDGER: raw + line.encode() + b"\n"}, _message(json.loads(line)), base=ground, parents=_parents(head, lands, ground)
            )
            if self.registry.advance(made, was=head):
                self._remember(line)
                return Entry(**json.loads(line))
            clock.sleep(random.uniform(0, LONGEST_WAIT))
        raise RegistryError(f"the ledger has changed under {TRIES} tries to add a line; see which runs are at work, then try again")

    def _raw(self, head: str | None) -> bytes:
        raw = (self.registry.read(LEDGER, head) if head else None) or b""
        return raw if not raw or raw.endswith(b"\n") else raw + b"\n"

    def _line(self, raw: bytes, told: dict[str, Any]) -> str:
        lines = raw.splitlines()
        now = max(_now(), _time_of(lines[-1]) if lines else "")
        content = {"number": len(lines) + 1, "time": now, **told, "previous": sha256(lines[-1]).hexdigest() if lines else FIRST}
        if self.key is None:
            return _written({**content, "key_id": None, "signature": None})
        # the id is part of what is signed, and known only from the key
        known_as = signed(b"", self.key)["key_id"]
        content = {**content, "key_id": known_as}
        return _written({**content, **signed(_written(content).encode(), self.key)})

    def read(self) -> list[Entry]:
        """Return all entries, the oldest first; raises RegistryError naming the first line that is none."""
        entries = []
        for number, line in enumerate(self._raw(self.registry.head()).splitlines(), 1):
            found = _entry(line)
            if found is None:
                raise RegistryError(f"line {number} of the ledger is no entry; `evergreen ledger verify` names all that is wrong with it")
            entries.append(found)
        return entries

    def verify(self, trusted: Mapping[str, Ed25519PublicKey], untold: Callable[[], str | None] = lambda: None) -> list[str]:
        """Return what is wrong, line by line and tag by tag; nothing where the ledger is as it was written by keys that are trusted.

        `untold` says which commit is live whose line is still to be written, if any is known: its tags come before its line.
        """
        while True:
            head = self.registry.head()
            faults = self._faults_of(self._raw(head).splitlines(), trusted, untold)
            if not faults or self.registry.head() == head:  # else a line was written meanwhile
                return faults

    def _faults_of(self, lines: list[bytes], trusted: Mapping[str, Ed25519PublicKey], untold: Callable[[], str | None]) -> list[str]:
        faults, before, moment = [], FIRST, ""
        for number, line in enumerate(lines, 1):
            entry = _entry(line)
            found = ["it is no entry"] if entry is None else list(_faults(entry, line, number, before, moment, trusted))
            faults += [f"line {number}: {words}" for words in found]
            before, moment = sha256(line).hexdigest(), entry.time if entry else moment
        faults += self._end_faults(lines)
        return [*faults, *self._tag_faults([entry for line in lines if (entry := _entry(line))], untold)]

    def _remember(self, line: str) -> None:
        if self.memory is None:
            return
        number = json.loads(line)["number"]
        self.memory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = self.memory.with_name(f".{self.memory.name}.{os.getpid()}.partial")
        partial.write_text(json.dumps({"number": number, "sha256": sha256(line.encode()).hexdigest()}) + "\n", encoding="utf-8")
        partial.replace(self.memory)

    def _end_faults(self, lines: list[bytes]) -> list[str]:
        """Return whether the newest line that was written here is still there."""
        try:
            known = json.loads(self.memory.read_bytes()) if self.memory else None
            number, digest = (int(known["number"]), str(known["sha256"])) if known else (0, "")
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError):
            return [f"{self.memory} is damaged: whether lines were cut off the end cannot be told; delete it once you know"]
        if number > len(lines):
            return [f"line {number}: it was written here, but is gone; the ledger ends at line {len(lines)}"]
        if number and sha256(lines[number - 1]).hexdigest() != digest:
            return [f"line {number}: it is not the one that was written here"]
        return []

    def _tag_faults(self, entries: list[Entry], untold: Callable[[], str | None]) -> list[str]:
        """Return each version and each assignment whose tag and ledger do not agree."""
        told = {entry.version: entry for entry in entries if entry.version and entry.commit}
        tagged, assigned = {version.name: version.commit for version in self.registry.versions()}, self.registry.assignments()
        waiting, faults = untold(), []
        for name in sorted({*told, *tagged}):
            entry, commit = told.get(name), tagged.get(name)
            if entry is None:
                faults += [f"tag {self.registry.artifact}@{name}: no line of the ledger names it"] if commit != waiting else []
            elif commit is None:
                faults.append(f"tag {self.registry.artifact}@{name}: it is gone, but line {entry.number} names it")
            elif commit != entry.commit:
                said = (entry.commit or "")[:12]
                faults.append(f"tag {self.registry.artifact}@{name}: it points to {commit[:12]}, but line {entry.number} says {said}")
        lived = [entry for entry in entries if entry.event in GOES_LIVE and entry.commit]
        begun = entries[0].moment if entries else inf
        stem = f"{self.registry.artifact}#{STAGE}"
        return [*faults, *assignment_faults(lived, assigned, stem=stem, begun=begun, untold=waiting)]

    def who_was_live(self, moment: float) -> Entry | None:
        """Return the entry that had made live what was live at a moment (seconds since 1970), or None before the first."""
        return next((entry for entry in reversed(self.read()) if entry.event in GOES_LIVE and entry.since <= moment), None)


def _faults(entry: Entry, line: bytes, number: int, before: str, moment: str, trusted: Mapping[str, Ed25519PublicKey]) -> "list[str]":
    faults = []
    if entry.number != number:
        faults.append(f"it calls itself line {entry.number}")
    if entry.previous != before:
        faults.append("the line before it is not the one that it was written after")
    if entry.time < moment:
        faults.append("it is older than the line before it")
    content = asdict(entry)
    if _written(content).encode() != line:
        faults.append("it is not written as an entry is")
    signature = {"key_id": content["key_id"], "signature": content.pop("signature")}
    if signature["signature"] is None:
        return [*faults, NOT_SIGNED]
    try:
        what = Path(f"line {number}")
        check_signature(_written(content).encode(), json.dumps(signature).encode(), trusted, what=what)
    except ReleaseError as fault:
        reason = NOT_TRUSTED if "not trusted" in str(fault) else "it was changed after it was signed"
        faults.append(f"{reason} (key {entry.key_id})")
    return faults


def _parents(head: str | None, lands: str | None, ground: str) -> list[str]:
    return [parent for parent in (head, lands) if parent] or [ground]


def _message(content: Mapping[str, Any]) -> str:
    what = content["version"] or content["model_version"] or (content["commit"] or "")[:12]
    return f"ledger {content['number']}: {content['event']} {what}\n\n{content['why']}\n\nBy: {content['who']}\n"


def _known(raw: bytes, event: str, commit: str | None) -> Entry | None:
    entries = (_entry(line) for line in raw.splitlines())
    return next((entry for entry in entries if entry and entry.event == event and entry.commit == commit), None)


def _entry(line: bytes) -> Entry | None:
    try:
        entry = Entry(**json.loads(line))
        datetime.fromisoformat(entry.time)
        dict(entry.facts)
    except (ValueError, TypeError):
        return None
    return entry


def _time_of(line: bytes) -> str:
    entry = _entry(line)
    return entry.time if entry else ""


def _written(content: Mapping[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
