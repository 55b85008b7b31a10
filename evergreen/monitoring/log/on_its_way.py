"""Rows that are on record but not yet in the database: which answers, and the newest label of each. Safe for many threads.

Knows nothing of journals and databases. What is remembered is bounded; beyond that it says that it has forgotten something.
"""

from collections.abc import Iterable
from threading import Lock

from evergreen.monitoring.log.lines import Row
from evergreen.monitoring.log.records import Answered, Labelled

REMEMBERED = 500_000  # ids, at most


class OnItsWay:
    """What questions must know beside the database."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._answers: set[str] = set()
        self._labels: dict[str, Labelled] = {}
        self.forgetful = False  # whether some answers were not remembered

    def remember(self, rows: Iterable[Answered]) -> None:
        """Remember answers that are about to be kept."""
        with self._lock:
            if len(self._answers) < REMEMBERED:
                self._answers.update(row.request_id for row in rows)
            else:
                self.forgetful = True

    def swap(self, row: Labelled, known: str | None) -> str | None:
        """Remember a label that is about to be kept; return the one before it: of those on their way, or else `known`."""
        with self._lock:
            before = self._labels.get(row.request_id)
            if before and before.label == row.label:
                return before.label
            if (before is None or _order(before) < _order(row)) and len(self._labels) < REMEMBERED:
                self._labels[row.request_id] = row
            return before.label if before else known

    def has(self, request_id: str) -> bool:
        """Return whether an answer of this id is on its way."""
        with self._lock:
            return request_id in self._answers

    def label(self, request_id: str) -> str | None:
        """Return the newest label on its way for a request."""
        with self._lock:
            found = self._labels.get(request_id)
            return found.label if found else None

    def forget(self, rows: Iterable[Row]) -> None:
        """Stop remembering rows: the database has them now, or nobody has."""
        with self._lock:
            for row in rows:
                if isinstance(row, Answered):
                    self._answers.discard(row.request_id)
                elif row.request_id in self._labels and _order(self._labels[row.request_id]) <= _order(row):
                    del self._labels[row.request_id]

    def all_arrived(self) -> None:
        """Nothing is on its way any more, so nothing can have been forgotten."""
        with self._lock:
            self.forgetful = False


def _order(row: Labelled) -> tuple[float, str]:
    return row.time, row.feedback_id
