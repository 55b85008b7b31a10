"""Where Prefect's server is: the one that PREFECT_API_URL names, or the one that `evergreen up` runs for this project.

Imports nothing of Prefect, which reads its settings when it is imported.
"""

import fcntl
import json
import os
from dataclasses import asdict, dataclass

from evergreen.errors import PipelineError
from flows import HOME

RECORD, LOCK = HOME / "up.json", HOME / "up.lock"


@dataclass(frozen=True, slots=True)
class Up:
    """A running `evergreen up`: its process, and the address of Prefect's API."""

    pid: int
    api: str

    @property
    def ui(self) -> str:
        """Return the address of Prefect's pages."""
        return self.api.removesuffix("/api")

    def write(self) -> None:
        """Leave word of it for other commands."""
        beside = RECORD.with_suffix(".partial")
        beside.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")
        beside.replace(RECORD)


def running() -> Up | None:
    """Return the `evergreen up` of this project, or None where none runs: it holds a lock for as long as it lives."""
    try:
        with LOCK.open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except FileNotFoundError:
        return None
    except BlockingIOError:
        pass
    try:
        return Up(**json.loads(RECORD.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None  # it is still coming up
    except (ValueError, TypeError):
        raise PipelineError(f"{RECORD} is damaged; end `evergreen up`, and start it again") from None


def api() -> str | None:
    """Return the address of Prefect's API, or None where there is none."""
    named = os.environ.get("PREFECT_API_URL")
    if named:
        return named
    found = running()
    return found.api if found else None


def use_api() -> str:
    """Make Prefect use the server that is there; call it before Prefect is imported. Raises PipelineError where there is none."""
    found = api()
    if found is None:
        raise PipelineError("no Prefect server runs for this project; start `evergreen up`, or name one in PREFECT_API_URL")
    os.environ["PREFECT_API_URL"] = found
    return found
