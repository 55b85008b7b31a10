"""A folder for as long as a block lasts, of which what a killed process has left is swept away by the next one."""

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = ".lock"  # ends the name of a file beside each folder: network file systems lock files, and not folders


@contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """Give a fresh folder below `parent`, where nothing else may lie; nobody waits for another one's."""
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _lock_of(parent).open("a") as everybody:  # a folder that is made and not yet held must not be taken for one that was left
        fcntl.flock(everybody, fcntl.LOCK_EX)
        for left in parent.iterdir():
            if left.is_dir():
                _sweep(left)
        folder = Path(tempfile.mkdtemp(dir=parent))
        held = _lock_of(folder).open("a")
        fcntl.flock(held, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _lock_of(folder).unlink(missing_ok=True)
        held.close()


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}{LOCK}")


def _sweep(left: Path) -> None:
    """Remove a folder whose process is gone."""
    with _lock_of(left).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        shutil.rmtree(left, ignore_errors=True)
        _lock_of(left).unlink(missing_ok=True)
