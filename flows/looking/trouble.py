"""A monitor that fails is told of: once for each message, and once a day for as long as it goes on.

What was told, and when, is kept under EVERGREEN_HOME/monitor, because each look is a process of its own. Knows nothing of what a look is.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evergreen.errors import EvergreenError
from evergreen.sections.loop import Notify
from flows.bridge.committed import params_of
from flows.notify import Say, notify

AGAIN = 20 * 3600.0  # seconds after which the same is told again: less than a day, so that a daily look tells it daily


@contextmanager
def told(root: Path, home: Path, *, say: Say) -> Iterator[None]:
    """Tell people where the block fails, and raise it again; a block that works makes an end of the trouble."""
    record = home / "monitor" / "trouble.json"
    try:
        yield
    except Exception as fault:
        words = str(fault) if isinstance(fault, EvergreenError) else f"{type(fault).__name__}; the log of its run says more"
        if words not in _known(record):
            notify(_settings(root), "failure", "the monitor has failed", words, say=say)
            _keep(record, words)
        raise
    record.unlink(missing_ok=True)


def _known(record: Path) -> dict[str, float]:
    """Return what people were told less than a day ago, each message with its time."""
    try:
        kept = json.loads(record.read_text(encoding="utf-8"))
        return {words: then for words, then in kept.items() if isinstance(then, float) and 0 <= time.time() - then < AGAIN}
    except (OSError, ValueError, AttributeError):
        return {}


def _keep(record: Path, words: str) -> None:
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps({**_known(record), words: time.time()}), encoding="utf-8")
    except OSError:  # a full disk: it is told again
        return


def _settings(root: Path) -> Notify:
    """Return whom to tell what; where params.yaml itself is the trouble, failures are told."""
    try:
        return params_of(root).notify
    except EvergreenError:
        return Notify(events=["failure"])
