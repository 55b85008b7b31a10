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
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import BoundedSemaphore, Event, Lock, Thread
from typing import Literal, TypeVar

from evergreen.monitoring import database, request_log, retention
from evergreen.monitoring.journal import Journal, JournalFull
from evergreen.monitoring.lines import DamagedLine, Row, UnknownLine, from_line, to_line
from evergreen.monitoring.records import Answered, Labelled
from evergreen.monitoring.refused import NAME, RefusedRows

Told = Literal["recorded", "already recorded", "corrected"]
Found = TypeVar("Found")

log = logging.getLogger("evergreen.request_log")

PERIOD = 0.2  # seconds between two tries to empty the journal
BATCH = 500  # rows of one transaction; that many waiting rows also wake the thread early
LONGEST_WAIT = 2.0  # seconds between two tries while the database is away
SPELL_SECONDS = 1.0  # of emptying the journal, after which what came meanwhile is synced first
ADOPTION_SECONDS = 5.0
FIRST_RETENTION_SECONDS = 60.0  # after the start, which has other things to do
RETENTION_SECONDS = 600.0
RETENTION_GRACE = 30.0  # seconds that deleting may take before the database counts as hanging
FIRST_TRY_SECONDS = 4.0  # how long a question waits for the first try at the database
ANSWER_SECONDS = 3.0  # that a question waits for its answer
ASKERS = 4  # questions at a time; the pool of connections holds more, so that one is left for the rows
HANGING_SECONDS = 5.0  # of one statement, after which the database counts as away
BUFFER_BYTES = 16 * 2**20  # of rows held in memory while the disk takes none
REMEMBERED = 500_000  # ids of rows on their way, at most


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
        self._journal = Journal(spool, max_bytes=int(spool_megabytes * 1e6))
        self._refused = RefusedRows(spool / NAME)
        self._limits = retention.Limits(seconds=keep_days * 86_400, bytes=int(keep_megabytes * 1e6))
        self._buffer: deque[bytes] = deque()
        self._buffered = 0
        self._lock = Lock()  # over everything that follows
        self._answers: set[str] = set()  # request ids on their way
        self._labels: dict[str, tuple[tuple[float, str], str]] = {}  # on their way, the newest of each request: (its order, its label)
        self._forgetful = False  # whether some were not remembered
        self._dropped = self._damaged = self._recorded = 0
        self._up = self._prepared = False
        self._error: str | None = None
        self._disk_error: str | None = None
        self._retention_error: str | None = None
        self._asked_at: float | None = None  # since when the thread waits for the database
        self._askers = BoundedSemaphore(ASKERS)
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
            self._journal.close()
            self._engine.dispose()

    def answered(self, rows: Sequence[Answered]) -> None:
        """Keep the answers of a request; when it returns, the death of this process loses none of them."""
        if not rows:
            return
        self._remember_answers(rows)
        if not self._keep(rows):
            with self._lock:
                self._answers.difference_update(row.request_id for row in rows)

    def labelled(self, row: Labelled) -> Told | None:
        """Keep a label that was told for a request, and say whether it is new; a repeated one is not kept again.

        None: it could not be kept (disk and memory are full): ask for it to be sent again. While the database is away,
        "recorded" may stand for a correction of a label that only the database holds.
        """
        before = self._label_on_its_way(row.request_id)
        if before is None:
            before = self._ask(lambda: request_log.label_of(self._engine, row.request_id))
        with self._lock:
            on_its_way = self._labels.get(row.request_id)
            before = on_its_way[1] if on_its_way else before
            if before == row.label:
                return "already recorded"
            order = (row.time, row.feedback_id)
            if (on_its_way is None or on_its_way[0] < order) and len(self._labels) < REMEMBERED:
                self._labels[row.request_id] = (order, row.label)
        if not self._keep([row]):
            with self._lock:
                self._labels.pop(row.request_id, None)
            return None
        return "recorded" if before is None else "corrected"

    def knows(self, request_id: str) -> bool | None:
        """Return whether there is an answer of this id, on its way or in the database; None: the database cannot be asked."""
        if self._is_on_its_way(request_id):
            return True
        found = self._ask(lambda: request_log.known(self._engine, request_id))
        if found or self._is_on_its_way(request_id):
            return True
        return None if found is None or self._forgetful or self._journal.inherited else False

    def state(self) -> State:
        """Return how it fares now."""
        with self._lock:
            return State(
                pending=self._journal.pending + len(self._buffer),
                dropped=self._dropped,
                refused=self._refused.count,
                damaged=self._damaged + self._journal.torn,
                spool_bytes=self._journal.bytes,
                buffered_bytes=self._buffered,
                recorded=self._recorded,
                database_up=self._is_up(),
                last_error=self._disk_error or self._error or (self._retention_error if self._is_up() else "the database does not answer"),
            )

    # On the way in

    def _keep(self, rows: Sequence[Row]) -> bool:
        """Append to the journal; where that cannot be, hold the rows in memory up to a bound, or count them as lost."""
        try:
            lines = [to_line(row) for row in rows]
        except (TypeError, ValueError) as fault:  # a mistake of ours, not of the caller, who shall have the answer all the same
            with self._lock:
                self._dropped += len(rows)
            log.error("request log: a row cannot be written as JSON (%s)", type(fault).__name__)
            return False
        try:
            self._journal.append(lines)
        except JournalFull as fault:
            size = sum(map(len, lines))
            with self._lock:
                self._disk_error = str(fault)
                if self._buffered + size > BUFFER_BYTES:
                    self._dropped += len(lines)
                    return False
                self._buffer.extend(lines)
                self._buffered += size
        if self._up and self._journal.pending >= BATCH:  # while the database is away, haste would only disturb its start
            self._wake.set()
        return True

    def _remember_answers(self, rows: Sequence[Answered]) -> None:
        with self._lock:
            if len(self._answers) < REMEMBERED:
                self._answers.update(row.request_id for row in rows)
            else:
                self._forgetful = True

    def _is_on_its_way(self, request_id: str) -> bool:
        with self._lock:
            return request_id in self._answers

    def _label_on_its_way(self, request_id: str) -> str | None:
        with self._lock:
            found = self._labels.get(request_id)
            return found[1] if found else None

    # Asking

    def _is_up(self) -> bool:
        since = self._asked_at
        return self._up and (since is None or time.monotonic() - since < HANGING_SECONDS)

    def _ask(self, question: Callable[[], Found]) -> Found | None:
        """Return the database's answer, or None where it is away or takes too long: a driver may wait for ever for one that hangs."""
        if self._thread.is_alive():
            self._tried.wait(FIRST_TRY_SECONDS)
        if not self._is_up() or not self._askers.acquire(timeout=ANSWER_SECONDS):
            return None
        answer: list[Found] = []

        def ask() -> None:
            try:
                answer.append(question())
            except Exception as fault:
                self._note(fault)
            finally:
                self._askers.release()

        asker = Thread(target=ask, name="request log, a question", daemon=True)
        asker.start()
        asker.join(ANSWER_SECONDS)
        return answer[0] if answer else None

    def _note(self, fault: Exception) -> None:
        words = database.described(fault)
        with self._lock:
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
        """Put what memory holds into the journal as soon as that takes it, and the journal on the disk."""
        now = time.monotonic()
        if now >= self._next_adoption:
            self._next_adoption = now + ADOPTION_SECONDS
            with suppress(OSError):  # the next time, then
                self._journal.adopt()
        while self._buffer:
            lines = self._oldest_buffered()
            try:
                self._journal.append(lines)
            except JournalFull:
                break
            self._unbuffer(lines)
        try:
            self._journal.sync()
        except OSError as fault:
            self._disk_error = f"the journal cannot be brought to the disk: {fault.strerror}"
        else:
            if not self._buffer:
                self._disk_error = None

    def _oldest_buffered(self) -> list[bytes]:
        with self._lock:
            return list(islice(self._buffer, BATCH))

    def _unbuffer(self, lines: list[bytes]) -> None:
        with self._lock:
            for _ in lines:
                self._buffer.popleft()
            self._buffered -= sum(map(len, lines))

    def _to_database(self) -> bool:
        """Bring to the database what waits, for a while; return whether more waits."""
        self._asked_at = start = time.monotonic()
        self._look_at_database(start)
        more = self._empty_journal(start) or self._empty_buffer(start)
        with self._lock:
            self._error = None
            if not self._journal.pending:
                self._forgetful = False
        if not more and time.monotonic() >= self._next_retention and not self._closing.is_set():
            self._retire()
        return more

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

    def _empty_journal(self, start: float) -> bool:
        while batch := self._journal.read(BATCH):
            if time.monotonic() - start > SPELL_SECONDS:
                return True
            self._insert_lines(batch.lines)
            self._journal.done(batch)
        return False

    def _empty_buffer(self, start: float) -> bool:
        while self._buffer:
            if time.monotonic() - start > SPELL_SECONDS:
                return True
            lines = self._oldest_buffered()
            self._insert_lines(lines)
            self._unbuffer(lines)
        return False

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
            self._forget(rows)

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

    def _forget(self, rows: Sequence[Row]) -> None:
        """Stop remembering rows that were on their way: the database knows them now."""
        with self._lock:
            for row in rows:
                if isinstance(row, Answered):
                    self._answers.discard(row.request_id)
                elif row.request_id in self._labels and self._labels[row.request_id][0] <= (row.time, row.feedback_id):
                    del self._labels[row.request_id]
