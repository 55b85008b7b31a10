"""A folder for as long as a block lasts, of which what a killed process has left is swept away by the next one."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """Give a fresh folder below `parent`, where nothing else may lie; nobody waits for another one's."""
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(parent):  # a folder that is made and not yet held must not be taken for one that was left
        for left in parent.iterdir():
            _sweep(left)
        folder = Path(tempfile.mkdtemp(dir=parent))
        handle = os.open(folder, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _sweep(left: Path) -> None:
    """Remove a folder whose process is gone."""
    try:
        handle = os.open(left, os.O_RDONLY)
    except FileNotFoundError:  # its process has just ended
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(left, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(handle)
