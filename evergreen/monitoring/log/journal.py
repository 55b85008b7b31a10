"""Lines that outlive the process that wrote them: append-only files ("segments") in a folder, read back in order.

An append is one write() to the page cache, so what it returned for survives a kill of the process; `sync` makes it survive
a power cut. Each journal ("owner") holds a lock for as long as its process lives, and `adopt` takes over what owners left
that are dead. Knows nothing of what a line holds.

    <owner>.lock            held by flock: the kernel lets go of it whatever kills the process
    <owner>-000001.jsonl    segments, in the order of their numbers; removed once all their lines are done

`append` may be called from any thread, `sync` from one; `read`, `done` and `adopt` belong to one thread.
"""

import fcntl
import os
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from evergreen.monitoring.log.records import new_id

SEGMENT_BYTES = 8 * 2**20
READ_BYTES = 2**20
SUFFIX = ".jsonl"


class JournalFull(OSError):
    """Nothing was appended: the journal is at its bound, or the disk is full or failing."""


@dataclass(eq=False, slots=True)
class Owner:
    """Whose segments: the name before the dash, and the open file whose lock says that somebody minds them."""

    name: str
    lock: int
    path: Path


@dataclass(eq=False, slots=True)
class Segment:
    """A file of lines; those before `start` are done."""

    owner: Owner
    path: Path
    file: int
    size: int
    start: int = 0
    lines: int = 0
    dirty: bool = False  # written to since the last sync


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines as they stand, oldest first, and what `done` must know."""

    lines: list[bytes]
    segment: Segment
    end: int


class Journal:
    """The journal of this process, and of the dead ones that it has taken over."""

    def __init__(self, folder: Path, *, max_bytes: int, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.folder, self.max_bytes, self.segment_bytes = folder, max_bytes, segment_bytes
        self.bytes = 0  # in all segments, done lines included until their segment goes
        self.pending = 0  # lines not done
        self.torn = 0  # ends of segments that are no whole line: a write that never finished
        self._lock = Lock()
        self._segments: deque[Segment] = deque()
        self._current: Segment | None = None
        self._count = 0
        self._owner: Owner | None = None  # from the first append on: a full disk is no reason not to start

    def append(self, lines: Sequence[bytes]) -> None:
        """Add whole lines in one write; raise JournalFull when they cannot be kept, and then none of them is."""
        data = b"".join(lines)
        with self._lock:
            if self.bytes + len(data) > self.max_bytes:
                raise JournalFull(f"the journal in {self.folder} holds {self.bytes:,} bytes, its bound is {self.max_bytes:,}")
            segment = self._current
            try:
                if segment is None or segment.size >= self.segment_bytes:
                    segment = self._current = self._begin()
                written = os.write(segment.file, data)
            except OSError as fault:
                self._repair()
                raise JournalFull(f"the journal in {self.folder} cannot be written: {fault.strerror}") from None
            if written != len(data):
                self._repair()
                raise JournalFull(f"the journal in {self.folder} cannot be written: the disk is full")
            segment.size += written
            segment.lines += len(lines)
            segment.dirty = True
            self.bytes += written
            self.pending += len(lines)

    def _begin(self) -> Segment:
        if self._owner is None:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._owner = _own(self.folder)
        self._count += 1
        path = self.folder / f"{self._owner.name}-{self._count:06d}{SUFFIX}"
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        segment = Segment(self._owner, path, file, size=0)
        self._segments.append(segment)
        return segment

    def _repair(self) -> None:
        """Take back what half a write left; where even that fails, write no more behind it."""
        if self._current is not None:
            try:
                os.ftruncate(self._current.file, self._current.size)
            except OSError:
                self._current = None

    def read(self, at_most: int) -> Batch | None:
        """Return the oldest lines that are not done, or None; the same again until they are."""
        while True:
            with self._lock:
                segment = self._segments[0] if self._segments else None
                if segment is None or (segment is self._current and segment.start == segment.size):
                    return None
                start, size = segment.start, segment.size
            lines = _lines(segment.file, start, size, at_most)
            if lines:
                return Batch(lines, segment, start + sum(map(len, lines)))
            with self._lock:  # at its end, or what is left of it is no whole line
                self.torn += start < size
                self._drop(segment)

    def done(self, batch: Batch) -> None:
        """Forget the lines of a batch: they are kept elsewhere."""
        with self._lock:
            segment = batch.segment
            segment.start = batch.end
            segment.lines -= len(batch.lines)
            self.pending -= len(batch.lines)
            if segment.start < segment.size:
                return
            if segment is self._current:
                with suppress(OSError):  # else it is removed when it is full
                    os.ftruncate(segment.file, 0)
                    self.bytes -= segment.size
                    segment.size = segment.start = 0
            else:
                self._drop(segment)

    def _drop(self, segment: Segment) -> None:
        self._segments.remove(segment)
        self.bytes -= segment.size
        self.pending -= segment.lines
        if segment is self._current:
            self._current = None
        with suppress(OSError):
            segment.path.unlink()
        os.close(segment.file)
        if segment.owner is not self._owner and all(other.owner is not segment.owner for other in self._segments):
            _let_go(segment.owner)

    def sync(self) -> None:
        """Bring what was appended to the disk; raise OSError when the disk does not take it."""
        with self._lock:
            dirty = [segment for segment in self._segments if segment.dirty]
            files = [os.dup(segment.file) for segment in dirty]  # so that nobody closes them meanwhile
            for segment in dirty:
                segment.dirty = False
        try:
            for file in files:
                os.fsync(file)
        finally:
            for file in files:
                os.close(file)
        if dirty:
            _sync_folder(self.folder)

    def adopt(self) -> int:
        """Take over the segments of owners that are dead; return how many lines they hold."""
        found = {path.stem for path in self.folder.glob("*.lock")}
        found |= {path.name.rpartition("-")[0] for path in self.folder.glob(f"*-*{SUFFIX}")}
        with self._lock:
            ours = {owner.name for owner in (*(segment.owner for segment in self._segments), self._owner) if owner}
        lines = 0
        for name in sorted(found - ours):
            owner = _take(self.folder, name)
            if owner is None:
                continue
            segments = [segment for path in sorted(self.folder.glob(f"{name}-*{SUFFIX}")) if (segment := _reopen(owner, path))]
            if not segments:
                _let_go(owner)
            with self._lock:  # before our own: what they left is older
                place = next((place for place, segment in enumerate(self._segments) if segment.owner is self._owner), len(self._segments))
                for segment in reversed(segments):
                    self._segments.insert(place, segment)
                    self.bytes += segment.size
                    self.pending += segment.lines
                    lines += segment.lines
        return lines

    @property
    def inherited(self) -> bool:
        """Whether lines of dead owners are not done yet."""
        with self._lock:
            return any(segment.owner is not self._owner for segment in self._segments)

    def close(self) -> None:
        """Let go of everything; lines that are not done stay for whoever adopts them."""
        with self._lock:
            owners = {id(owner): owner for owner in (*(segment.owner for segment in self._segments), self._owner) if owner}
            for segment in list(self._segments):
                if segment.start == segment.size:
                    segment.path.unlink(missing_ok=True)
                    self._segments.remove(segment)
                os.close(segment.file)
            left = {id(segment.owner) for segment in self._segments}
            for key, owner in owners.items():
                if key in left:
                    os.close(owner.lock)
                else:
                    _let_go(owner)
            self._segments.clear()
            self._current = self._owner = None


def pending_lines(folder: Path) -> int:
    """Return how many lines wait in a folder's journals, whoever owns them; for showing, since it moves while it is counted."""
    total = 0
    for path in folder.glob(f"*-*{SUFFIX}"):
        with suppress(FileNotFoundError), path.open("rb") as file:
            while chunk := file.read(READ_BYTES):
                total += chunk.count(b"\n")
    return total


def _lines(file: int, start: int, size: int, at_most: int) -> list[bytes]:
    """Return up to `at_most` whole lines from `start`; none where not even one is whole before `size`."""
    length = READ_BYTES
    while True:
        data = os.pread(file, min(length, size - start), start)
        end = data.rfind(b"\n") + 1
        if end or start + len(data) >= size or len(data) < length:
            return [line + b"\n" for line in data[:end].split(b"\n")[:-1][:at_most]]
        length *= 2  # a line longer than what was read


def _own(folder: Path) -> Owner:
    while True:
        owner = _take(folder, new_id())
        if owner is not None:
            return owner


def _take(folder: Path, name: str) -> Owner | None:
    """Return the ownership of a name, or None where another process has it."""
    path = folder / f"{name}.lock"
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock).st_ino == path.stat().st_ino:  # and it was not removed by who had it before
            return Owner(name, lock, path)
    except OSError:
        pass
    os.close(lock)
    return None


def _let_go(owner: Owner) -> None:
    owner.path.unlink(missing_ok=True)  # before the lock goes: nobody finds it free and empty
    os.close(owner.lock)


def _reopen(owner: Owner, path: Path) -> Segment | None:
    try:
        file = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    os.fsync(file)  # its owner may have died before it could
    size, lines, start = os.fstat(file).st_size, 0, 0
    while start < size:
        data = os.pread(file, READ_BYTES, start)
        lines += data.count(b"\n")
        start += len(data)
    return Segment(owner, path, file, size=size, lines=lines)


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
