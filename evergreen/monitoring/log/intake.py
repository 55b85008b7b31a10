"""Where rows are kept until the database has them: the journal on the disk, or a bounded memory while the disk takes none.

`keep` may be called from any thread and neither waits nor raises; the rest belongs to the one thread that brings rows on.
Knows nothing of databases.
"""

import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from threading import Lock

from evergreen.monitoring.log.journal import Batch, Journal, JournalFull
from evergreen.monitoring.log.lines import Row, to_line

log = logging.getLogger("evergreen.request_log")

BATCH = 500  # rows at a time
BUFFER_BYTES = 16 * 2**20  # of rows held in memory while the disk takes none


class Intake:
    """The journal and the memory behind one door."""

    def __init__(self, spool: Path, max_bytes: int) -> None:
        self.journal = Journal(spool, max_bytes=max_bytes)
        self.dropped = 0  # rows lost
        self.buffered = 0  # bytes in memory
        self.error: str | None = None  # while the disk takes none
        self._buffer: deque[bytes] = deque()
        self._lock = Lock()

    @property
    def pending(self) -> int:
        """Rows that are not done."""
        return self.journal.pending + len(self._buffer)

    def keep(self, rows: Sequence[Row]) -> bool:
        """Keep rows on the disk, or in memory, or count them as lost; return whether they are kept."""
        try:
            lines = [to_line(row) for row in rows]
        except (TypeError, ValueError) as fault:  # a mistake of ours, not of the caller, who shall have the answer all the same
            with self._lock:
                self.dropped += len(rows)
            log.error("request log: a row cannot be written as JSON (%s)", type(fault).__name__)
            return False
        try:
            self.journal.append(lines)
        except JournalFull as fault:
            return self._keep_in_memory(lines, str(fault))
        return True

    def _keep_in_memory(self, lines: list[bytes], why: str) -> bool:
        size = sum(map(len, lines))
        with self._lock:
            self._note(f"{why}; rows are held in memory")
            if self.buffered + size > BUFFER_BYTES:
                self.dropped += len(lines)
                return False
            self._buffer.extend(lines)
            self.buffered += size
        return True

    def adopt(self) -> None:
        """Take over what dead processes left."""
        with suppress(OSError):  # the next time, then
            self.journal.adopt()

    def settle(self) -> None:
        """Put what memory holds on the journal as soon as that takes it, and the journal on the disk."""
        while lines := self._oldest():
            try:
                self.journal.append(lines)
            except JournalFull:
                break
            self._let_go(lines)
        try:
            self.journal.sync()
        except OSError as fault:
            self._note(f"the journal cannot be brought to the disk: {fault.strerror}")
        else:
            if not self._buffer:
                self.error = None

    def next(self) -> "Batch | list[bytes] | None":
        """Return the next lines to bring on: of the journal, then of the memory; the same again until they are `done`."""
        return self.journal.read(BATCH) or self._oldest() or None

    def done(self, batch: "Batch | list[bytes]") -> None:
        """Forget lines that the database has."""
        if isinstance(batch, Batch):
            self.journal.done(batch)
        else:
            self._let_go(batch)

    def close(self) -> None:
        """Let go of the journal; what is not done stays on it for the next start."""
        self.journal.close()

    def _note(self, words: str) -> None:
        if self.error is None:  # once, not for every row
            log.warning("request log: %s", words)
        self.error = words

    def _oldest(self) -> list[bytes]:
        with self._lock:
            return list(islice(self._buffer, BATCH))

    def _let_go(self, lines: list[bytes]) -> None:
        with self._lock:
            for _ in lines:
                self._buffer.popleft()
            self.buffered -= sum(map(len, lines))
