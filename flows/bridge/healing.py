"""What a power cut or a full disk leaves behind and DVC stumbles over, mended before a run.

Knows nothing of stages. Bytes that have changed are the business of `integrity`.
"""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import yaml

from evergreen.errors import RegistryError
from evergreen.release.plumbing import Git
from flows.bridge.integrity import Say
from flows.bridge.workspace import cache_of

LEFT_BEHIND = 3600.0  # seconds without a byte after which a half-written object is nobody's


def heal(root: Path, *, say: Say) -> None:
    """Mend an emptied lock table and an emptied or cut-short dvc.lock; sweep half-written objects out of DVC's cache."""
    _heal_table(root / ".dvc" / "tmp" / "rwlock", say)
    _heal_lock(root / "dvc.lock", say)
    _sweep(cache_of(root))


def _heal_table(table: Path, say: Say) -> None:
    if table.is_file() and not _is_json(table) and not _soon(lambda: not table.is_file() or _is_json(table)):
        table.unlink(missing_ok=True)
        say(f"removed {table}: a cut-short write had emptied it")


def _heal_lock(lock: Path, say: Say) -> None:
    if not lock.is_file() or not _is_cut(lock) or _soon(lambda: not _is_cut(lock)):
        return
    committed = _committed(lock)
    if _is_empty(committed):
        lock.unlink()
        say(f"removed {lock}: a cut-short write had damaged it; unchanged stages are restored from DVC's run cache")
    else:
        lock.write_bytes(committed)
        say(f"took {lock} from the last commit: a cut-short write had damaged it; later stages are restored from DVC's run cache")


def _sweep(cache: Path) -> None:
    """Remove what DVC left half-written in its cache when the disk was full; nothing refers to it, but it takes space."""
    for path in cache.glob("files/md5/.*.tmp"):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > LEFT_BEHIND:
                path.unlink()


def _is_cut(lock: Path) -> bool:
    """Say whether a dvc.lock ends before its time. One with both sides of a merge in it is a person's to settle."""
    content = lock.read_bytes()
    if _is_empty(content):
        return True
    try:
        yaml.safe_load(content)
    except yaml.YAMLError:
        return b"<<<<<<<" not in content
    return False


def _soon(happens: Callable[[], bool]) -> bool:
    """Say whether something comes true within a second: a run that is writing a file is soon done with it."""
    for _ in range(20):
        if happens():
            return True
        time.sleep(0.05)
    return False


def _is_empty(content: bytes) -> bool:
    """Say whether nothing was written: a file that a power cut emptied holds no bytes, or zeros."""
    return not content.strip(b"\0 \n")


def _committed(path: Path) -> bytes:
    """Return a file as the last commit has it; nothing where there is no git, no commit or no such file in it."""
    try:
        return Git(path.parent).read(path.name, "HEAD") or b""
    except RegistryError:
        return b""


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True
