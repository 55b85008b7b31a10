"""DVC's objects: files named by the md5 of their bytes, in a project's cache and in its remote.

DVC trusts an object that is write-protected, and what a remote sends; here nothing is used before its bytes have been hashed. A damaged
object leaves the cache, and a sound one comes from the remote. Knows of no stage and of no version.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import file_digest, md5
from pathlib import Path
from typing import Any, BinaryIO

import yaml
from dvc.exceptions import DvcException
from dvc.repo import Repo

from evergreen.errors import PipelineError
from flows import HOME
from flows.bridge import REMOTE

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where it was built
FOLDER = ".dir"  # ends the name of an object that lists the files of a folder


class ObjectError(PipelineError):
    """An object is nowhere, or its bytes are not those that its name says."""


@dataclass(frozen=True)
class Output:
    """An output as dvc.lock or a .dvc file records it: the stage that writes it, its path in the project, its object."""

    stage: str
    path: str
    oid: str


class Objects:
    """The objects of one project."""

    def __init__(self, repo: Repo) -> None:
        self.repo = repo

    def place(self, oid: str) -> Path:
        """Return where the cache has an object, or would have it."""
        return Path(self.repo.cache.local.oid_to_path(oid))

    def ensure(self, oid: str, name: str) -> Path:
        """Return a sound object of the cache, taken from the remote where it is missing or damaged; `name` is what people call it.

        Raises ObjectError where the remote has none, or has other bytes under that name.
        """
        place = self.place(oid)
        if matches(place, oid):
            return place
        place.unlink(missing_ok=True)
        self._take(oid, name, place)
        return place

    def files(self, oid: str, name: str) -> dict[str, str]:
        """Return the object of each file below an output by its path there; the output itself, where it is a file, by "."."""
        if not oid.endswith(FOLDER):
            return {".": oid}
        listed = json.loads(self.ensure(oid, name).read_bytes())
        return {item["relpath"]: item["md5"] for item in listed}

    def lay(self, oid: str, name: str, target: Path) -> None:
        """Write an output, a file or a folder, to `target`; what stood there goes first."""
        found = {path: self.ensure(one, f"{name}/{path}" if path != "." else name) for path, one in self.files(oid, name).items()}
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        for path, place in found.items():
            replace(place, target / path)

    def check(self, oid: str, name: str) -> None:
        """Hash what the remote has of an output; raises ObjectError naming what is missing or has other bytes than its name says."""
        with self._asking(oid, name) as (remote, where):
            content = remote.fs.open(remote.oid_to_path(oid), "rb")
            with content:
                listed = content.read() if oid.endswith(FOLDER) else b""
                found = md5(listed, usedforsecurity=False).hexdigest() if listed else digest(content)
            if found != oid.removesuffix(FOLDER):
                raise ObjectError(f"{name} is not what was recorded: {where} has other bytes under {oid} than that name says")
        for item in json.loads(listed or "[]"):
            self.check(item["md5"], f"{name}/{item['relpath']}")

    def _take(self, oid: str, name: str, place: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_name(f".{place.name}.{os.getpid()}.partial")
        try:
            with self._asking(oid, name) as (remote, where):
                remote.fs.get_file(remote.oid_to_path(oid), str(partial))
                if not matches(partial, oid):
                    raise ObjectError(f"{name} is not what was recorded: {where} has other bytes under {oid} than that name says")
            partial.chmod(0o444)
            partial.replace(place)
        finally:
            partial.unlink(missing_ok=True)

    @contextmanager
    def _asking(self, oid: str, name: str) -> Iterator[tuple[Any, str]]:
        """Give the remote and what to call it; what goes wrong inside is told as an ObjectError."""
        remote = self._remote()
        if remote is None:
            raise ObjectError(f"{name} is lost: DVC's cache has no sound copy of it ({oid}), and there is no remote to take it from")
        where = f"the remote {self.repo.config['core']['remote']} ({remote.path})"
        try:
            yield remote, where
        except ObjectError:
            raise
        except FileNotFoundError:
            raise ObjectError(f"{name} is missing: {where} has no object {oid}") from None
        except Exception as fault:  # of DVC, its plugins and their network libraries, which share no ancestor
            raise ObjectError(f"{name} cannot be taken from {where}: {' '.join(str(fault).split()) or type(fault).__name__}") from None

    def _remote(self) -> Any | None:
        if not self.repo.config["core"].get("remote"):
            return None
        try:
            return self.repo.cloud.get_remote_odb()
        except DvcException as fault:
            raise ObjectError(f"the remote {self.repo.config['core']['remote']} cannot be used: {fault}") from None


@contextmanager
def opened(root: Path, *, cache: Path | None = None) -> Iterator[Objects]:
    """Give the objects of the project in `root`; where it names no remote, the folder of EVERGREEN_HOME is one if it exists.

    `cache` is another DVC cache than the project's.
    """
    folder = HOME / "remote"
    own: dict[str, Any] = {"cache": {"dir": str(cache)}} if cache else {}
    try:
        with Repo(str(root)) as repo:
            named = bool(repo.config["core"].get("remote"))
        if not named and folder.is_dir():
            own |= {"remote": {REMOTE: {"url": str(folder)}}, "core": {"remote": REMOTE}}
        with Repo(str(root), config=own or None) as repo:
            yield Objects(repo)
    except DvcException as fault:
        raise PipelineError(f"DVC cannot be used in {root}: {fault}") from None


def recorded(lock: bytes, kind: str = "outs") -> list[Output]:
    """Return the outputs (with "deps": the dependencies) that a dvc.lock records; raises PipelineError where it is no such file."""
    try:
        stages = (yaml.load(lock, Loader=LOADER) or {}).get("stages", {})
        return [Output(name, item["path"], item["md5"]) for name, stage in stages.items() for item in stage.get(kind, [])]
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as fault:
        raise PipelineError(f"dvc.lock is not what DVC writes ({fault!r}); take it from git (`git checkout dvc.lock`)") from None


def outputs_of(root: Path, stage: str) -> list[Output]:
    """Return the outputs of a stage, or of a .dvc file (named by its path), as they are recorded now."""
    if not stage.endswith(".dvc"):
        lock = root / "dvc.lock"
        return [out for out in recorded(lock.read_bytes()) if out.stage == stage] if lock.is_file() else []
    try:
        outs = yaml.safe_load((root / stage).read_bytes())["outs"]
        return [Output(stage, (Path(stage).parent / out["path"]).as_posix(), out["md5"]) for out in outs]
    except (yaml.YAMLError, KeyError, TypeError) as fault:
        raise PipelineError(f"{stage} is not what DVC writes ({fault!r}); take it from git (`git checkout {stage}`)") from None


def matches(path: Path, oid: str) -> bool:
    """Say whether there is a file with the bytes that an object's name says."""
    try:
        return md5_of(path) == oid.removesuffix(FOLDER)
    except (FileNotFoundError, NotADirectoryError):
        return False


def md5_of(path: Path) -> str:
    """Return the md5 of a file: DVC's name for its bytes, no safeguard against somebody who can forge one."""
    with path.open("rb") as file:
        return digest(file)


def digest(file: BinaryIO) -> str:
    """Return the md5 of what is left to read of a file."""
    return file_digest(file, lambda: md5(usedforsecurity=False)).hexdigest()  # type: ignore[arg-type]


def replace(source: Path, target: Path) -> None:
    """Copy a file to `target` in one step, writable by its owner."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    try:
        shutil.copyfile(source, partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
