"""A full disk is told from other faults, whichever library meets it, and in words that say what to do."""

import errno
from pathlib import Path

import pytest

from evergreen import disk
from evergreen.errors import PipelineError

SAID = (
    OSError(errno.ENOSPC, "No space left on device", "a.parquet"),
    OSError("[Errno 28] Error writing bytes to file. Detail: [errno 28] No space left on device"),
    RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    RuntimeError("database or disk is full"),
    OSError(errno.EFBIG, "File too large"),
    OSError(errno.EDQUOT, "Disk quota exceeded"),
)


@pytest.mark.parametrize("fault", SAID, ids=str)
def test_every_librarys_way_of_saying_it_is_known(fault: Exception) -> None:
    assert disk.is_full(fault)
    words = disk.full_words(fault)
    assert "free some space, then run again" in words
    assert "\n" not in words


def test_a_fault_that_came_from_a_full_disk_is_one() -> None:
    outer = ValueError("could not save")
    outer.__cause__ = SAID[0]
    assert disk.is_full(outer)


@pytest.mark.parametrize("fault", [OSError(errno.ENOENT, "No such file"), ValueError("28"), KeyError("disk")], ids=str)
def test_other_faults_are_not(fault: Exception) -> None:
    assert not disk.is_full(fault)


def test_a_folder_without_room_is_refused_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk.check_room(tmp_path)
    monkeypatch.setattr(disk, "ROOM", 1 << 62)
    with pytest.raises(PipelineError, match=r"the disk of .* has [\d.]+ MB left"):
        disk.check_room(tmp_path)
