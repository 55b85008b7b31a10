"""Keeps answers and labels without making anybody wait: a journal first, the database behind it, in a thread of its own.

`answered` and `state` return at once and may be called on an event loop: one write to the page cache, some counters.
`labelled` and `knows` may ask the database (bounded by its time limits): call them in a thread, as
`await asyncio.to_thread(recorder.knows, request_id)`. None of them raises, whatever becomes of disk and database.

A row goes to the journal; the thread brings it to the database and only then forgets it, so that neither the death of
this process nor that of the database loses it. What is replayed is kept once, because rows carry their keys. Knows
nothing of HTTP or of models. Not for use across fork(): a child would share the journal's lock.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Literal, TypeVar

from evergreen.monitoring.log import database, request_log, retention
from evergreen.monitoring.log.intake import BATCH, Intake
from evergreen.monitoring.log.journal import Batch
from evergreen.monitoring.log.lines import DamagedLine, Row, UnknownLine, from_line, to_line
from evergreen.monitoring.log.on_its_way import OnItsWay
from evergreen.monitoring.log.questions import Questions
from evergreen.monitoring.log.records import Answered, Labelled
from evergreen.monitoring.log.refused import NAME, RefusedRows

Told = Literal["recorded", "already recorded", "corrected"]
Found = TypeVar("Found")

log = logging.getLogger("evergreen.request_log")

PERIOD = 0.2  # seconds between two tries to empty the journal; a full batch wakes the thread earlier
LONGEST_WAIT = 2.0  # seconds between two tries while the database is away
SPELL_SECONDS = 1.0  # of emptying the journal, after which what came meanwhile is synced first
ADOPTION_SECONDS = 5.0
FIRST_RETENTION_SECONDS = 60.0  # after the start, which has other things to do
RETENTION_SECONDS = 600.0
RETENTION_GRACE = 30.0  # seconds that deleting may take before the database counts as hanging
FIRST_TRY_SECONDS = 4.0  # how long a question waits for the first try at the database
HANGING_SECONDS = 5.0  # of one statement, after which the database counts as away


@dataclass(frozen=True, slots=True)
class State:
    """How the request log fares; counts are since the start."""

    pending: int  # rows in journal and memory that the database does not hold yet
    dropped: int  # rows lost: neither disk nor memory could hold them
    refused: int  # rows that the database refuses for what they hold, put aside in a file
    damaged: int  # lines of journals that were no longer whole
    spool_bytes: int
    buffered_bytes: int  # in memory only, because the disk takes no more
    recorded: int  # rows that the database has taken
    database_up: bool
    last_error: str | None  # while something is wrong; holds neither texts nor secrets


class Recorder:
    """The request log of one process. Raises LogError when made with a URL that cannot work, and nothing after that."""

    def __init__(self, url: str, spool: Path, keep_days: float, keep_megabytes: float, spool_megabytes: float) -> None:
        self._engine = database.connect(url)
        self._intake = Intake(spool, max_bytes=int(spool_megabytes * 1e6))
        self._refused = RefusedRows(spool / NAME)
        self._limits = retention.Limits(seconds=keep_days * 86_400, bytes=int(keep_megabytes * 1e6))
        self._on_its_way = OnItsWay()
        self._questions = Questions(self._note)
        self._damaged = self._recorded = 0
        self._up = self._prepared = False
        self._error: str | None = None
        self._retention_error: str | None = None
        self._error_lock = Lock()
        self._asked_at: float | None = None  # since when the thread waits for the database
        self._wake, self._tried, self._closing = Event(), Event(), Event()
        self._next_adoption = self._next_look = 0.0
        self._next_retention = time.monotonic() + FIRST_RETENTION_SECONDS
        self._thread = Thread(target=self._run, name="request log", daemon=True)

    def start(self) -> None:
        """Begin to bring rows to the database, those of dead processes first; returns at once."""
        self._thread.start()

    def close(self, timeout: float = 10.0) -> None:
        """Bring what waits to the database, for up to `timeout` seconds; what is left stays in the journal for the next start."""
        self._closing.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        if not self._thread.is_alive():
            self._intake.close()
            self._questions.close()
            self._engine.dispose()

    def answered(self, rows: Sequence[Answered]) -> None:
        """Keep the answers of a request; when it returns, the death of this process loses none of them."""
        self._on_its_way.remember(rows)
        self._keep(rows)

    def labelled(self, row: Labelled) -> Told | None:
        """Keep a label that was told for a request, and say whether it is new; a repeated one is not kept again.

        None: it could not be kept (disk and memory are full): ask for it to be sent again. While the database is away,
        "recorded" may stand for a correction of a label that only the database holds.
        """
        before = self._on_its_way.label(row.request_id)
        if before is None:
            before = self._ask(lambda: request_log.label_of(self._engine, row.request_id))
        if before == row.label:
            return "already recorded"
        before = self._on_its_way.swap(row, before)
        if before == row.label:  # somebody said so meanwhile
            return "already recorded"
        if not self._keep([row]):
            return None
        return "recorded" if before is None else "corrected"

    def knows(self, request_id: str) -> bool | None:
        """Return whether there is an answer of this id, on its way or in the database; None: the database cannot be asked."""
        if self._on_its_way.has(request_id):
            return True
        found = self._ask(lambda: request_log.known(self._engine, request_id))
        if found or self._on_its_way.has(request_id):
            return True
        return None if found is None or self._on_its_way.forgetful or self._intake.journal.inherited else False

    def state(self) -> State:
        """Return how it fares now."""
        up, journal = self._is_up(), self._intake.journal
        return State(
            pending=self._intake.pending,
            dropped=self._intake.dropped,
            refused=self._refused.count,
            damaged=self._damaged + journal.torn,
            spool_bytes=journal.bytes,
            buffered_bytes=self._intake.buffered,
            recorded=self._recorded,
            database_up=up,
            last_error=self._intake.error or self._error or (self._retention_error if up else "the database does not answer"),
        )

    def _keep(self, rows: Sequence[Row]) -> bool:
        kept = bool(rows) and self._intake.keep(rows)
        if not kept:
            self._on_its_way.forget(rows)
        elif self._up and self._intake.pending >= BATCH:  # while the database is away, haste would only disturb its start
            self._wake.set()
        return kept

    def _is_up(self) -> bool:
        since = self._asked_at
        return self._up and (since is None or time.monotonic() - since < HANGING_SECONDS)

    def _ask(self, question: Callable[[], Found]) -> Found | None:
        """Return the database's answer, or None where it is away."""
        if self._thread.is_alive():
            self._tried.wait(FIRST_TRY_SECONDS)
        return self._questions.ask(question) if self._is_up() and not self._closing.is_set() else None

    def _note(self, fault: Exception) -> None:
        words = database.described(fault)
        with self._error_lock:
            new, self._error = words != self._error, words
        if new:
            log.warning("request log: %s", words)

    # In the thread

    def _run(self) -> None:
        wait, more = 0.0, False
        while True:
            if not self._closing.is_set():
                self._wake.wait(wait)
            self._wake.clear()
            closing = self._closing.is_set()
            try:
                self._to_disk()
                more = self._to_database()
                wait = 0.0 if more else PERIOD
            except Exception as fault:
                # Whatever it was, rows stay where they are and are tried again.
                wait, more = min(2 * max(wait, PERIOD), LONGEST_WAIT), False
                self._up = self._prepared = False
                self._note(fault)
            finally:
                self._asked_at = None
                self._tried.set()
            if closing and not more:
                return

    def _to_disk(self) -> None:
        now = time.monotonic()
        if now >= self._next_adoption:
            self._next_adoption = now + ADOPTION_SECONDS
            self._intake.adopt()
        self._intake.settle()

    def _to_database(self) -> bool:
        """Bring to the database what waits, for a while; return whether more waits."""
        self._asked_at = start = time.monotonic()
        self._look_at_database(start)
        while batch := self._intake.next():
            if time.monotonic() - start > SPELL_SECONDS:
                return True
            self._insert_lines(batch.lines if isinstance(batch, Batch) else batch)
            self._intake.done(batch)
        self._error = None
        if not self._intake.pending:
            self._on_its_way.all_arrived()
        if time.monotonic() >= self._next_retention and not self._closing.is_set():
            self._retire()
        return False

    def _look_at_database(self, now: float) -> None:
        """Make the tables at first, and see from time to time that the database is there although nothing is to be inserted."""
        if not self._prepared:
            request_log.prepare(self._engine)
            self._prepared = True
        database.check_file(self._engine)
        if now >= self._next_look:
            database.ping(self._engine)
            self._next_look = now + LONGEST_WAIT
        self._up = True
        self._tried.set()

    def _insert_lines(self, lines: list[bytes]) -> None:
        rows = []
        for line in lines:
            try:
                rows.append(from_line(line))
            except DamagedLine:
                self._damaged += 1
            except UnknownLine:
                self._refused.put(line)
        if rows:
            self._insert(rows)
            self._on_its_way.forget(rows)

    def _insert(self, rows: list[Row]) -> None:
        """Insert rows; where the database blames what they hold, halve them until the one is alone that it refuses."""
        self._asked_at = time.monotonic()
        try:
            request_log.insert(self._engine, rows)
            self._recorded += len(rows)
        except Exception as fault:
            if not database.blames_the_row(fault):
                raise
            if len(rows) == 1:
                self._refused.put(to_line(rows[0]))
                log.warning("request log: %s, and put aside in %s", database.described(fault), self._refused.path)
                return
            half = len(rows) // 2
            self._insert(rows[:half])
            self._insert(rows[half:])

    def _retire(self) -> None:
        """Delete what is too old or too much; trouble with that is shown, but no reason to take the database for away."""
        self._asked_at = time.monotonic() + RETENTION_GRACE
        finished, self._retention_error = True, None
        try:
            finished = retention.retire(self._engine, self._limits, now=time.time())
            self._refused.retire(time.time() - self._limits.seconds)
        except Exception as fault:
            self._retention_error = f"old rows cannot be deleted: {database.described(fault)}"
            log.warning("request log: %s", self._retention_error)
        self._next_retention = time.monotonic() + (RETENTION_SECONDS if finished else PERIOD)
