"""A version rebuilt from its record, beside what was recorded: every output's hash, and the tuple that decides the bytes.

Knows nothing of how a version is rebuilt, or of where records lie.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Outcome = Literal["equal", "differs", "missing", "measured"]
# Parts of the tuple that come from the version itself, not from the machine: where they differ, the record's inputs did.
OF_THE_VERSION = {
    "data_sha256",
    "backbone_sha256",
    "backbone_config_sha256",
    "tokenizer_sha256",
    "dependencies_sha256",
    "code_sha256",
    "params",
}
DERIVED = {"fingerprint"}


@dataclass(frozen=True)
class Row:
    """One output: the stage that writes it, its path, the hash on record and the one of the rebuilt bytes (None: not written)."""

    stage: str
    path: str
    recorded: str
    rebuilt: str | None
    outcome: Outcome


@dataclass(frozen=True)
class Comparison:
    """What became of a rebuilt version: a row per output, and what of the tuple differs, as {name: (recorded, here)}."""

    version: str
    model_version: str
    commit: str
    rows: list[Row]
    tuple_: dict[str, tuple[Any, Any]]
    notes: list[str]

    @property
    def equal(self) -> bool:
        """Whether every output has the recorded bytes, measured ones aside."""
        return all(row.outcome in ("equal", "measured") for row in self.rows)

    @property
    def machine(self) -> dict[str, tuple[Any, Any]]:
        """What differs of the machine: builds, instruction set, processor, threads."""
        return {name: pair for name, pair in self.tuple_.items() if name not in OF_THE_VERSION}

    def words(self) -> str:
        """Return the outcome in one sentence."""
        counts = {outcome: sum(row.outcome == outcome for row in self.rows) for outcome in ("equal", "differs", "missing", "measured")}
        measured = f"; {counts['measured']} hold measured times, which were taken from the record" if counts["measured"] else ""
        if self.equal:
            return f"{self.version} is rebuilt bit for bit: {counts['equal']} outputs are equal{measured}"
        wrong = counts["differs"] + counts["missing"]
        first = next(row for row in self.rows if row.outcome in ("differs", "missing"))
        why = "this is another machine than the one it was made on" if self.machine else "the recorded tuple is the same here"
        told = f"{wrong} of {len(self.rows)} outputs differ, the first of them {first.path} ({first.stage})"
        return f"{self.version} is NOT what was recorded: {told}; {why}"


def compared(recorded: Mapping[str, tuple[str, str]], rebuilt: Mapping[str, str], *, measured: Collection[str]) -> list[Row]:
    """Return a row per recorded output: `recorded` gives (stage, hash) by path, `rebuilt` the hash; `measured` are paths of times."""
    rows = []
    for path, (stage, wanted) in recorded.items():
        found = rebuilt.get(path)
        same: Outcome = "measured" if path in measured else "missing" if found is None else "equal" if found == wanted else "differs"
        rows.append(Row(stage, path, wanted, found, same))
    return rows


def differing(recorded: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what differs between two tuples, by name; what only one of them has differs from None."""
    names = [name for name in dict.fromkeys([*recorded, *here]) if name not in DERIVED]
    return {name: (recorded.get(name), here.get(name)) for name in names if recorded.get(name) != here.get(name)}
