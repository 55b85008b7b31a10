"""Where Prefect's server is: the one that PREFECT_API_URL names, or the one that `evergreen up` runs for this project.

Imports nothing of Prefect, which reads its settings when it is imported.
"""

import fcntl
import json
import os
import socket
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from typing import IO

from evergreen.errors import PipelineError
from flows import HOME

LOOPBACK = "127.0.0.1"
RECORD, LOCK, TURN = HOME / "up.json", HOME / "up.lock", HOME / "server.lock"


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


def held() -> bool:
    """Say whether an `evergreen up` of this project lives: it holds a lock for as long as it does."""
    try:
        with LOCK.open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True


def running() -> Up | None:
    """Return the `evergreen up` of this project, or None where none runs, or it is still coming up."""
    if not held():
        return None
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


def turn() -> IO[bytes] | None:
    """Return what keeps other servers of this project from coming up until it is closed, or None where one comes up just now.

    Two at a time on a fresh database both make its tables, and one of them fails.
    """
    TURN.parent.mkdir(parents=True, exist_ok=True)
    file = TURN.open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def healthy(api: str) -> bool:
    """Say whether Prefect's API answers, and is well."""
    try:
        with urllib.request.urlopen(f"{api}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def reachable(api: str) -> bool:
    """Say whether anything answers on an address, be it that we must say who we are."""
    try:
        with urllib.request.urlopen(f"{api}/health", timeout=10):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False


def free_port(wanted: int) -> int:
    """Return the wanted port, or any free one for 0; raise PipelineError where somebody has it."""
    with socket.socket() as trying:
        trying.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trying.bind((LOOPBACK, wanted))
        except OSError:
            raise PipelineError(
                f"port {wanted} is taken, perhaps by another project's Prefect server, and each project needs one of its own; "
                "name another: evergreen up --prefect-port 0"
            ) from None
        return int(trying.getsockname()[1])
