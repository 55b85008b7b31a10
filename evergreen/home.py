"""Where state outside git and DVC lies: one folder, EVERGREEN_HOME, `.evergreen` where nothing else is said.

Makes no folder; who writes something makes its own.
"""

import os
from pathlib import Path

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
