"""The data of a commit: what DVC records of it, brought from DVC's cache or its remote with every byte checked, and pushed there.

The remote is the project's own (`dvc remote add --default`, credentials in .dvc/config.local) or, where it names none, the folder
EVERGREEN_HOME/remote. What is used is hashed first: an object that a disk or a hand has changed is thrown out of the cache and fetched
again. Knows nothing of versions, and of a pipeline no more than its lock file.
"""

import json
import os
import shlex
import shutil
from collections.abc import Iterable, Iterator
from hashlib import md5
from pathlib import Path
from typing import Any

import yaml

from evergreen.errors import RegistryError
from evergreen.release.registry import Registry
from flows import HOME
from flows.workspace import REMOTE, cache_of

LOCK, POINTER, FOLDER = "dvc.lock", ".dvc", ".dir"
CHUNK = 1 << 20


def recorded(root: Path, commit: str) -> dict[str, str]:
    """Return every path that DVC keeps at a commit with its md5 (that of a folder's listing ends in ".dir"): outputs and added data."""
    registry = Registry(root)
    outs = _outs(registry, registry.resolve(commit))
    return {str(out["path"]): str(out["md5"]) for out in outs}


def _outs(registry: Registry, commit: str) -> Iterator[dict[str, Any]]:
    stages = (yaml.safe_load(registry.read(LOCK, commit) or b"{}") or {}).get("stages", {})
    yield from (out for stage in stages.values() for out in stage.get("outs", []) if "md5" in out)
    for name in registry.git.files(commit):
        if name.endswith(POINTER):
            folder = Path(name).parent
            outs = yaml.safe_load(registry.read(name, commit) or b"{}")["outs"]
            yield from ({"path": (folder / out["path"]).as_posix(), "md5": out["md5"]} for out in outs)


def output(root: Path, commit: str, stage: str, name: str) -> str:
    """Return the path of a stage's output, by the name that its command gives it, as a commit records the command."""
    registry = Registry(root)
    stages = (yaml.safe_load(registry.read(LOCK, registry.resolve(commit)) or b"{}") or {}).get("stages", {})
    words = shlex.split(str(stages.get(stage, {}).get("cmd", "")))
    path = next((word.partition("=")[2] for word in words if word.startswith(f"{name}=")), None)
    if path is None:
        raise RegistryError(f"commit {commit[:12]} records no {name} of the stage {stage}: the pipeline did not run to its end there")
    return path


def fetch(root: Path, commit: str, path: str, target: Path, *, cache: Path | None = None) -> Path:
    """Bring an output of a commit to `target`, which must not exist yet: from the cache, or from the remote through it.

    The target has the very bytes that the commit pins, or is not there at all. Raises RegistryError where neither has them.
    """
    commit = Registry(root).resolve(commit)
    wanted = recorded(root, commit).get(path)
    if wanted is None:
        raise RegistryError(f"commit {commit[:12]} records no {path}: it was not made by the pipeline, or not to its end")
    if target.exists():
        raise RegistryError(f"{target} is there already; name another target, or remove it first")
    where = cache or cache_of(root)
    complete(root, {path: wanted}, cache=where)
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        for name, oid in _files(where, wanted):
            place = partial / name if name else partial
            place.parent.mkdir(parents=True, exist_ok=True)
            if _copy(object_path(where, oid), place) != oid:
                raise RegistryError(f"{path} of commit {commit[:12]} changed in the cache while it was read; try again")
        partial.rename(target)
    finally:
        _remove(partial)
    return target


def complete(root: Path, paths: dict[str, str], *, cache: Path) -> None:
    """See that the cache has every object of some recorded paths, sound; fetch what it lacks from the remote."""
    said = ""
    for _ in range(2):  # the listing of a folder comes first, then what it lists
        lacking = {path: objects for path, oid in paths.items() if (objects := _unsound(cache, oid))}
        if not lacking:
            return
        said = _transfer(root, [one for objects in lacking.values() for one in objects], cache=cache, push=False)
    for path, oid in paths.items():
        if objects := _unsound(cache, oid):
            count = f"{len(objects)} of its objects, the first {objects[0]}, are" if len(objects) > 1 else f"its object {objects[0]} is"
            raise RegistryError(
                f"{path} cannot be had: {count} neither sound in the cache {cache} nor in {said}; "
                f"restore it there, or make the version again with `evergreen reproduce`"
            )


def push(root: Path, commit: str) -> str:
    """Bring all data that a commit records to the remote; return where that is. Raises RegistryError when any of it did not arrive."""
    paths = recorded(root, commit)
    cache = cache_of(root)
    for path, oid in paths.items():
        if damaged := _unsound(cache, oid):
            raise RegistryError(
                f"{path} cannot be pushed: the cache {cache} lacks {damaged[0]} of it, or had it damaged; run the stage again"
            )
    listed = (one for oid in paths.values() if oid.endswith(FOLDER) for _, one in _files(cache, oid))
    return _transfer(root, [*paths.values(), *listed], cache=cache, push=True)


def address(root: Path) -> str:
    """Return where the remote of a project is."""
    config = _config(root, cache_of(root))
    return str(config["remote"][config["core"]["remote"]]["url"])


def object_path(cache: Path, oid: str) -> Path:
    """Return where DVC's cache keeps an object."""
    return cache / "files" / "md5" / oid[:2] / oid[2:]


def _files(cache: Path, oid: str) -> list[tuple[str, str]]:
    """Return the files of an output, path inside it and md5; one file has the path ""."""
    if not oid.endswith(FOLDER):
        return [("", oid)]
    listing = json.loads(object_path(cache, oid).read_text(encoding="utf-8"))
    files = [(str(item["relpath"]), str(item["md5"])) for item in listing]
    if any(Path(name).is_absolute() or ".." in Path(name).parts for name, _ in files):
        raise RegistryError(f"the listing {oid} names a file outside its folder; do not use this remote")
    return files


def _unsound(cache: Path, oid: str) -> list[str]:
    """Return the objects of an output that the cache lacks; one whose bytes are not its name is taken out of it first."""
    if not _sound(cache, oid):
        return [oid]
    if not oid.endswith(FOLDER):
        return []
    return [one for one in dict.fromkeys(one for _, one in _files(cache, oid)) if not _sound(cache, one)]


def _sound(cache: Path, oid: str) -> bool:
    path = object_path(cache, oid)
    if not path.is_file():
        return False
    if _copy(path, None) == oid.removesuffix(FOLDER):
        return True
    path.unlink(missing_ok=True)
    return False


def _copy(source: Path, target: Path | None) -> str:
    """Read a file, writing it to a target where there is one; return its md5."""
    digest = md5(usedforsecurity=False)  # DVC's name of the object; whether it may be used is the Bento's manifest's to say
    with source.open("rb") as file:
        if target is None:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
            return digest.hexdigest()
        with target.open("wb") as copy:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                copy.write(chunk)
            copy.flush()
            os.fsync(copy.fileno())
    return digest.hexdigest()


def _transfer(root: Path, oids: Iterable[str], *, cache: Path, push: bool) -> str:
    """Push or fetch objects through DVC; return the remote's address. What could not be fetched is for the caller to find out."""
    from dvc.repo import Repo
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.transfer import transfer

    config = _config(root, cache)
    remote = config["remote"].get(config["core"]["remote"], {})
    said = str(remote.get("url", config["core"]["remote"]))
    objects = [HashInfo("md5", oid) for oid in dict.fromkeys(oids)]
    try:
        with Repo(str(root), config=config) as repo:
            there, here = repo.cloud.get_remote_odb(), repo.cache.local
            source, target = (here, there) if push else (there, here)
            # without DVC's index of what a remote is believed to have: the remote itself is asked
            done = transfer(source, target, objects, cache_odb=here, shallow=True)
    except Exception as fault:  # of DVC, its plugins and their network libraries, which share no ancestor
        words = " ".join(str(fault).split()) or type(fault).__name__
        raise RegistryError(f"the remote {said} cannot be {'written to' if push else 'read'}: {words}; see docs/registry.md") from fault
    if push and done.failed:
        raise RegistryError(
            f"{len(done.failed)} objects did not arrive at the remote {said}; look at its space and rights, then push again"
        )
    return said


def _config(root: Path, cache: Path) -> dict[str, Any]:
    """Return the project's DVC settings, with the folder in EVERGREEN_HOME as remote where they name none."""
    from flows.workspace import settings_of

    config: dict[str, Any] = dict(settings_of(root))
    config["cache"] = {**config["cache"], "dir": str(cache)}
    if not config["core"].get("remote"):
        (HOME / "remote").mkdir(parents=True, exist_ok=True)
        config["core"] = {**config["core"], "remote": REMOTE}
        config["remote"] = {**config["remote"], REMOTE: {"url": str(HOME / "remote")}}
    return config


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
