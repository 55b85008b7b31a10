"""What is on record in the demo's project: windows, decisions, alerts, and the answers of the request log."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from evergreen.monitoring.log.database import connect
from evergreen.monitoring.log.request_log import Window, read
from evergreen.monitoring.watch import history
from evergreen.release.ledger import Entry, Ledger
from evergreen.release.registry import Registry


class Record:
    """The database of the project whose EVERGREEN_HOME is `home`."""

    def __init__(self, home: Path) -> None:
        self.url = f"sqlite:///{home / 'traffic.sqlite'}"

    @contextmanager
    def _open(self) -> Iterator[Engine]:
        engine = connect(self.url, statement_seconds=0)
        try:
            yield engine
        finally:
            engine.dispose()

    def last(self) -> tuple[dict[str, Any] | None, history.Recorded | None]:
        """Return the newest window's facts and the newest decision."""
        with self._open() as engine:
            windows, decisions = history.read(engine, last=1), history.read_decisions(engine, last=1)
        return (windows[-1] if windows else None), (decisions[-1] if decisions else None)

    def candidate(self, root: Path) -> Entry:
        """Return the ledger's newest candidate."""
        return [entry for entry in Ledger(Registry(root)).read() if entry.event == "candidate"][-1]

    def unseen(self, version: str) -> dict[str, str]:
        """Return what a version answered in shadow, by request id."""
        with self._open() as engine, engine.connect() as connection:
            return {row.request_id: row.prediction for row in read(connection, Window(version=version, roles=("shadow",)))}
