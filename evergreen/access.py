"""API keys: who may ask what of the service. Kept as hashes in one file that only its owner can read.

A key is `eg_<id>_<secret>`, the secret 256 bits of chance. The file holds its sha256: with that much chance a slow hash would
add nothing. Revoked keys stay in the file, so that the last one revoked does not open the door to everybody.
Knows nothing of HTTP.
"""

import fcntl
import hmac
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evergreen.errors import AccessError

Permission = Literal["predict", "feedback", "read", "alert"]
PERMISSIONS: tuple[Permission, ...] = ("predict", "feedback", "read", "alert")
USUAL: tuple[Permission, ...] = ("predict", "feedback", "read")  # of a key that is made without saying; who may start a training is said
FILE = "keys.json"
FORM = re.compile(r"eg_([0-9a-f]{12})_([A-Za-z0-9_-]{43})", re.ASCII)
NOBODY = sha256(b"nobody").hexdigest()  # compared with where the id is unknown, so that it takes as long as a known one
STALE = 1.0  # seconds for which the file is not looked at again


class Key(BaseModel):
    """A key as the file holds it: everything but the secret."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(pattern="^[0-9a-f]{12}$")]
    name: Annotated[str, Field(pattern=r"^[\w .@-]{1,64}$")]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    may: Annotated[tuple[Permission, ...], Field(min_length=1)]
    created: datetime
    revoked: datetime | None = None


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    format: Literal[1]
    keys: tuple[Key, ...]


class KeyFile:
    """The file of keys, for whoever administers them. Every change is whole: written beside, synced, renamed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self, name: str, may: Collection[Permission] = USUAL) -> tuple[Key, str]:
        """Add a key and return it with its full text, which is nowhere kept. Raises AccessError for an odd or taken name."""
        secret = secrets.token_urlsafe(32)
        try:
            key = Key(
                id=secrets.token_hex(6),
                name=name,
                sha256=_hash(secret),
                may=tuple(permission for permission in PERMISSIONS if permission in may),
                created=datetime.now(UTC),
            )
        except ValidationError:
            raise AccessError(
                f"a key needs a name of 1 to 64 letters, digits, spaces, and . @ _ -, and at least one of {', '.join(PERMISSIONS)}"
            ) from None
        with self._edited() as keys:
            if any(other.name == name and not other.revoked for other in keys):
                raise AccessError(f"there is a key named {name!r} already; choose another name, or revoke it first")
            keys.append(key)
        return key, f"eg_{key.id}_{secret}"

    def revoke(self, key_id: str) -> Key:
        """Revoke a key; a running service refuses it within a second. Raises AccessError when there is none of this id."""
        with self._edited() as keys:
            place = next((place for place, key in enumerate(keys) if key.id == key_id), None)
            if place is None:
                raise AccessError(f"there is no key {key_id!r}; `evergreen keys list` shows those there are")
            key = keys[place]
            if not key.revoked:
                key = keys[place] = key.model_copy(update={"revoked": datetime.now(UTC)})
        return key

    def all(self) -> tuple[Key, ...]:
        """Return all keys, revoked ones too, oldest first."""
        return read(self.path)

    @contextmanager
    def _edited(self) -> Iterator[list[Key]]:
        """Give the keys to be changed; write them when the block ends well. Two commands at once wait for one another."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            keys = [*read(self.path)]
            yield keys
            _write(self.path, _Content(format=1, keys=tuple(keys)))
        finally:
            os.close(lock)


class KeyRing:
    """The keys as a running service sees them: kept in memory, read again at most a second after the file has changed.

    Fails closed: while the file is damaged, readable by others, or gone after it had been there, every check raises
    AccessError. Keys are off only where there has never been one.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.path, self.clock = path, clock
        self._keys: dict[str, Key] = {}
        self._fault: str | None = None
        self._looked = float("-inf")
        self._seen: tuple[int, ...] | None = None

    def on(self) -> bool:
        """Return whether callers need a key."""
        self._refresh()
        if self._fault:
            raise AccessError(self._fault)
        return bool(self._keys)

    def check(self, given: str) -> Key | None:
        """Return the key that this text is, or None. Takes as long for an unknown id as for a wrong secret."""
        self._refresh()
        if self._fault:
            raise AccessError(self._fault)
        form = FORM.fullmatch(given)
        key_id, secret = (form[1], form[2]) if form else ("", "")
        key = self._keys.get(key_id)
        same = hmac.compare_digest(_hash(secret), key.sha256 if key else NOBODY)
        return key if key and same and not key.revoked else None

    def fault(self) -> str | None:
        """Return what is wrong with the file, or None."""
        self._refresh()
        return self._fault

    def _refresh(self) -> None:
        now = self.clock()
        if now - self._looked < STALE:
            return
        self._looked = now
        try:
            found = _identity(self.path)
            if found == self._seen and not self._fault:
                return
            if found is None and self._keys:
                raise AccessError(f"{self.path} has gone; put it back, or restart the service to run without keys")
            self._keys = {key.id: key for key in read(self.path)}
            self._seen, self._fault = found, None
        except AccessError as fault:
            self._fault = str(fault)


def read(path: Path) -> tuple[Key, ...]:
    """Return the keys of a file; none where there is no file. Raises AccessError when it is damaged or others may read it."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if stat.S_IMODE(found.st_mode) & 0o077:
                raise AccessError(f"{path} can be read or written by others; run `chmod 600 {path}`")
            content = _Content.model_validate_json(file.read())
    except FileNotFoundError:
        return ()
    except OSError as fault:
        raise AccessError(f"{path} cannot be read: {fault.strerror}") from None
    except ValidationError:
        raise AccessError(f"{path} is damaged: it is not a list of keys as `evergreen keys` writes it; restore it from a backup") from None
    if len({key.id for key in content.keys}) != len(content.keys):
        raise AccessError(f"{path} is damaged: two keys have one id; restore it from a backup")
    return content.keys


def _identity(path: Path) -> tuple[int, ...] | None:
    """Return what changes when a file is replaced, edited or opened to others; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    except OSError as fault:
        raise AccessError(f"{path} cannot be read: {fault.strerror}") from None
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size


def _write(path: Path, content: _Content) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(content.model_dump_json(indent=2).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _hash(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()
