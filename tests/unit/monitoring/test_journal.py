"""The journal keeps whole lines in order, whatever happens to the process or the disk."""

import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evergreen.monitoring.log import journal as module
from evergreen.monitoring.log.journal import Journal, JournalFull, pending_lines

MEGABYTE = 10**6


def line(number: int, length: int = 20) -> bytes:
    return f"{number:0{length}d}\n".encode()


def drained(journal: Journal, at_most: int = 3) -> list[bytes]:
    lines = []
    while batch := journal.read(at_most):
        lines += batch.lines
        journal.done(batch)
    return lines


def dead(folder: Path, *lines: bytes) -> None:
    """Leave what a process leaves that appended these lines and was killed."""
    code = (
        "import os, sys; from pathlib import Path; from evergreen.monitoring.log.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]), max_bytes=10**6)\n"
        "journal.append([line.encode() + b'\\n' for line in sys.argv[2:]])\n"
        "os.kill(os.getpid(), 9)"
    )
    texts = [line.decode().rstrip("\n") for line in lines]
    done = subprocess.run([sys.executable, "-c", code, str(folder), *texts], cwd=Path(__file__).parents[3], timeout=60)
    assert done.returncode == -signal.SIGKILL


def test_lines_come_back_in_order_across_segments(tmp_path: Path) -> None:
    journal = Journal(tmp_path, max_bytes=MEGABYTE, segment_bytes=100)
    for number in range(50):
        journal.append([line(number)])
    assert len(list(tmp_path.glob("*.jsonl"))) > 5
    assert journal.pending == 50
    assert drained(journal) == [line(number) for number in range(50)]
    assert (journal.pending, journal.bytes) == (0, 0)


def test_what_is_done_leaves_nothing_on_the_disk(tmp_path: Path) -> None:
    journal = Journal(tmp_path, max_bytes=MEGABYTE, segment_bytes=100)
    for number in range(50):
        journal.append([line(number)])
    drained(journal)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 0
    journal.close()
    assert list(tmp_path.iterdir()) == []


def test_lines_are_read_again_until_they_are_done(tmp_path: Path) -> None:
    journal = Journal(tmp_path, max_bytes=MEGABYTE)
    journal.append([line(1), line(2)])
    first, again = journal.read(5), journal.read(5)
    assert first and again and first.lines == again.lines


def test_a_line_longer_than_one_read_comes_back_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ_BYTES", 16)
    journal = Journal(tmp_path, max_bytes=MEGABYTE)
    journal.append([line(1, length=1000), line(2)])
    assert drained(journal) == [line(1, length=1000), line(2)]


def test_a_dead_owner_is_adopted_and_older_lines_come_first(tmp_path: Path) -> None:
    dead(tmp_path, line(1), line(2))
    journal = Journal(tmp_path, max_bytes=MEGABYTE)
    journal.append([line(3)])
    assert journal.adopt() == 2
    assert journal.inherited
    assert drained(journal) == [line(1), line(2), line(3)]
    assert not journal.inherited
    journal.close()
    assert list(tmp_path.iterdir()) == []


def test_a_living_owner_is_left_alone(tmp_path: Path) -> None:
    living, other = Journal(tmp_path, max_bytes=MEGABYTE), Journal(tmp_path, max_bytes=MEGABYTE)
    living.append([line(1)])
    assert other.adopt() == 0
    assert drained(living) == [line(1)]


def test_of_two_adopters_one_gets_it(tmp_path: Path) -> None:
    dead(tmp_path, line(1))
    first, second = Journal(tmp_path, max_bytes=MEGABYTE), Journal(tmp_path, max_bytes=MEGABYTE)
    assert (first.adopt(), second.adopt()) == (1, 0)


def test_what_is_left_at_the_end_is_adopted_by_the_next(tmp_path: Path) -> None:
    journal = Journal(tmp_path, max_bytes=MEGABYTE)
    journal.append([line(1), line(2)])
    journal.close()
    assert pending_lines(tmp_path) == 2
    following = Journal(tmp_path, max_bytes=MEGABYTE)
    following.adopt()
    assert drained(following) == [line(1), line(2)]


def test_a_torn_end_is_skipped_and_counted(tmp_path: Path) -> None:
    dead(tmp_path, line(1), line(2))
    with next(tmp_path.glob("*.jsonl")).open("ab") as file:
        file.write(b"half a li")
    journal = Journal(tmp_path, max_bytes=MEGABYTE)
    journal.adopt()
    assert drained(journal) == [line(1), line(2)]
    assert journal.torn == 1
    assert list(tmp_path.glob("*.jsonl")) == []


def test_segments_without_a_lock_file_are_adopted(tmp_path: Path) -> None:
    dead(tmp_path, line(1))
    next(tmp_path.glob("*.lock")).unlink()
    journal = Journal(tmp_path, max_bytes=MEGABYTE)
    assert journal.adopt() == 1


def test_the_bound_refuses_and_room_made_is_used_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path, max_bytes=100)
    for number in range(4):
        journal.append([line(number)])
    with pytest.raises(JournalFull, match="its bound is 100"):
        journal.append([line(4)])
    assert len(drained(journal)) == 4
    journal.append([line(5)])
    assert drained(journal) == [line(5)]


def short_write(file: int, data: bytes, *, real: Any = os.write) -> int:
    return int(real(file, data[: len(data) // 2]))


def no_space(file: int, data: bytes) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("fault", [short_write, no_space])
def test_half_a_write_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Any) -> None:
    journal = Journal(tmp_path, max_bytes=MEGABYTE)
    journal.append([line(1)])
    with monkeypatch.context() as patch:
        patch.setattr(module.os, "write", fault)
        with pytest.raises(JournalFull):
            journal.append([line(2)])
    journal.append([line(3)])
    assert drained(journal) == [line(1), line(3)]


def test_where_half_a_write_cannot_be_taken_back_nothing_is_written_behind_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(file: int, size: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    journal = Journal(tmp_path, max_bytes=MEGABYTE)
    journal.append([line(1)])
    with monkeypatch.context() as patch:
        patch.setattr(module.os, "write", short_write)
        patch.setattr(module.os, "ftruncate", failing)
        with pytest.raises(JournalFull):
            journal.append([line(2)])
    journal.append([line(3)])
    assert drained(journal) == [line(1), line(3)]


def test_a_file_size_limit_of_the_system_loses_nothing_that_was_accepted(tmp_path: Path) -> None:
    journal = Journal(tmp_path, max_bytes=MEGABYTE)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    accepted = []
    resource.setrlimit(resource.RLIMIT_FSIZE, (110, before[1]))
    try:
        for number in range(10):
            try:
                journal.append([line(number)])
                accepted.append(line(number))
            except JournalFull:
                pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert len(accepted) == 5  # 21 bytes each: the sixth would end behind the limit
    assert drained(journal) == accepted


def test_files_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    Journal(folder, max_bytes=MEGABYTE).append([line(1)])
    assert folder.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())


def test_sync_reaches_every_segment_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr(module.os, "fsync", lambda file: synced.append(os.readlink(f"/proc/self/fd/{file}")))
    journal = Journal(tmp_path, max_bytes=MEGABYTE, segment_bytes=30)
    for number in range(4):
        journal.append([line(number)])
    journal.sync()
    assert {*synced} == {str(path) for path in tmp_path.glob("*.jsonl")} | {str(tmp_path)}
    synced.clear()
    journal.sync()
    assert synced == []
