"""Where state outside git and DVC lies: one folder, EVERGREEN_HOME, `.evergreen` where nothing else is said.

Makes no folder; who writes something makes its own.
"""

import os
from pathlib import Path

from evergreen.errors import ReleaseError

LOG_URL = "EVERGREEN_LOG_URL"


def home() -> Path:
    """Return the folder of all state outside git, as an absolute path."""
    return Path(os.environ.get("EVERGREEN_HOME") or ".evergreen").absolute()


def traffic_url(configured: str | None) -> str:
    """Return the SQLAlchemy URL of the request log: the environment's EVERGREEN_LOG_URL, the configured one, or SQLite in the home.

    The environment goes first because a URL with a password belongs neither in params.yaml nor in a Bento.
    """
    return os.environ.get(LOG_URL) or configured or f"sqlite:///{home() / 'traffic.sqlite'}"


def spool() -> Path:
    """Return the folder of rows on their way to the request log."""
    return home() / "spool"


def settle(started_in: Path, outside: Path) -> Path:
    """Fix EVERGREEN_HOME as seen from the folder that a command was started in, and return it.

    For a process that is moved elsewhere before it reads it. Raises ReleaseError where it would lie in the folder `outside`:
    what is written into a Bento makes it another one.
    """
    found = (started_in / (os.environ.get("EVERGREEN_HOME") or ".evergreen")).resolve()
    if found.is_relative_to(outside.resolve()):
        raise ReleaseError(f"EVERGREEN_HOME would be {found}, inside the Bento that is served; set it to a folder elsewhere")
    os.environ["EVERGREEN_HOME"] = str(found)
    return found
