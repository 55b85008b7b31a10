"""Rows that a database will never take, put aside in a file for a person to look at.

Knows nothing of why they were refused. The file is private to its owner, like every place that holds texts.
"""

import os
from contextlib import suppress
from pathlib import Path

NAME = "refused"
LARGEST = 16 * 10**6  # bytes; beyond it rows are counted alone


class RefusedRows:
    """The file and how many rows were refused since the start. The file is made with the first of them."""

    def __init__(self, path: Path) -> None:
        self.path, self.count = path, 0

    def put(self, line: bytes) -> None:
        """Count a row and keep it while the file has room; a disk that takes none is no reason to fail."""
        self.count += 1
        with suppress(OSError):
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                if os.fstat(file).st_size + len(line) <= LARGEST:
                    os.write(file, line)
            finally:
                os.close(file)

    def retire(self, horizon: float) -> None:
        """Remove the file when its newest row was put there before `horizon` (seconds since 1970): it is kept no longer than others."""
        with suppress(OSError):
            if self.path.stat().st_mtime < horizon:
                self.path.unlink()


def refused_rows(folder: Path) -> int:
    """Return how many rows lie in the file of refused rows of a spool."""
    try:
        return (folder / NAME).read_bytes().count(b"\n")
    except OSError:
        return 0
