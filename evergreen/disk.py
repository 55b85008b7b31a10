"""A full disk, told from other faults: every library says it in its own way.

Knows nothing of who was writing, or what.
"""

import errno
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from evergreen.errors import PipelineError

ROOM = 32_000_000  # bytes; Prefect's database and logs take some megabytes

# of the disk, of a quota, of a limit on the size of a file
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
SAID = ("No space left on device", "os error 28", "Errno 28", "Disk quota exceeded", "File too large", "database or disk is full")
WORDS = re.compile("|".join(SAID), re.IGNORECASE)


def check_room(folder: Path) -> None:
    """Raise PipelineError where the disk of a folder has no room even for a run's own state, which would come out as a riddle later."""
    free = shutil.disk_usage(folder).free
    if free < ROOM:
        raise PipelineError(
            f"the disk of {folder} has {free / 1e6:.1f} MB left, and a run needs {ROOM / 1e6:.0f} MB at the least; free some"
        )


def is_full(fault: BaseException) -> bool:
    """Say whether an error, or one that it came from, means that nothing more can be written."""
    return any((isinstance(one, OSError) and one.errno in FULL) or says_full(str(one)) for one in _chain(fault))


def full_words(fault: object) -> str:
    """Return what to tell a person, with the library's own words in brief."""
    said = next((line.strip() for line in str(fault).splitlines() if says_full(line)), str(fault).partition("\n")[0].strip())
    return (
        f"the disk is full, or a quota or limit on file sizes is reached ({said[-200:]}); "
        f"free some space, then run again: old outputs are untouched, and nothing half-written is used"
    )


def says_full(words: str) -> bool:
    """Say whether the words of a program mean that nothing more can be written."""
    return bool(WORDS.search(words))


def _chain(fault: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    one: BaseException | None = fault
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__
