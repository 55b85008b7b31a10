"""What a release is about to do, on disk before it is done: so that the next run can finish telling what a killed one has done.

One file, gone when all is told. Knows nothing of services, registries or ledgers.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Intent:
    """A change of what is live: `event` as the ledger will call it, the version wanted, and on whose word.

    `change` is the change's own id, by which a line of the ledger is known to be about it. `version` is None where the commit has none
    yet: it gets one once it is live, the next one that is not compatible where `breaking` says so. `commit` is None where the registry
    does not know the model.
    """

    change: str
    event: str
    model_version: str
    version: str | None
    commit: str | None
    who: str
    why: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    breaking: bool = False


class IntentFile:
    """The file in which an intent is kept while it is carried out."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Intent | None:
        """Return the intent that was not brought to its end, if there is one; a damaged file was cut short before anything was done."""
        try:
            return Intent(**json.loads(self.path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            self.clear()
            return None

    def write(self, intent: Intent) -> None:
        """Keep an intent, on the disk itself, before it is carried out."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = self.path.with_name(f".{self.path.name}.partial")
        with beside.open("w", encoding="utf-8") as file:
            json.dump(asdict(intent), file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.path)

    def age(self) -> float:
        """Return the seconds since it was written; infinity where there is none."""
        try:
            return time.time() - self.path.stat().st_mtime
        except FileNotFoundError:
            return float("inf")

    def clear(self) -> None:
        """Forget it: all is done and told, or nothing was."""
        self.path.unlink(missing_ok=True)
