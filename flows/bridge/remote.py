"""The data of a commit: what DVC records of it, brought from DVC's cache or its remote with every byte checked, and pushed there.

The remote is the project's own (`dvc remote add --default`, credentials in .dvc/config.local) or, where it names none, the folder
EVERGREEN_HOME/remote. Every object is hashed before it is used or sent (`flows/bridge/objects.py`). Knows nothing of versions, and of a
pipeline no more than its lock file.
"""

import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from evergreen.errors import RegistryError
from evergreen.release.registry import Registry
from flows import HOME
from flows.bridge import DVC_LOCK

POINTER = ".dvc"


def recorded(root: Path, commit: str) -> dict[str, str]:
    """Return every path that DVC keeps at a commit with its md5 (that of a folder's listing ends in ".dir"): outputs and added data."""
    from flows.bridge import objects

    registry = Registry(root)
    commit = registry.resolve(commit)
    found = {out.path: out.oid for out in objects.recorded(registry.read(DVC_LOCK, commit) or b"")}
    for name in registry.git.files(commit):
        if name.endswith(POINTER):
            outs = yaml.safe_load(registry.read(name, commit) or b"{}")["outs"]
            found |= {(Path(name).parent / out["path"]).as_posix(): str(out["md5"]) for out in outs}
    return found


def output(root: Path, commit: str, stage: str, name: str) -> str:
    """Return the path of a stage's output, by the name that its command gives it, as a commit records the command."""
    registry = Registry(root)
    stages = (yaml.safe_load(registry.read(DVC_LOCK, registry.resolve(commit)) or b"{}") or {}).get("stages", {})
    words = shlex.split(str(stages.get(stage, {}).get("cmd", "")))
    path = next((word.partition("=")[2] for word in words if word.startswith(f"{name}=")), None)
    if path is None:
        raise RegistryError(f"commit {commit[:12]} records no {name} of the stage {stage}: the pipeline did not run to its end there")
    return path


def fetch(root: Path, commit: str, path: str, target: Path, *, cache: Path | None = None) -> Path:
    """Bring an output of a commit to `target`, which must not exist yet: from the cache, or from the remote through it.

    The target has the very bytes that the commit pins, or is not there at all. Raises RegistryError where neither has them.
    """
    from flows.bridge.objects import ObjectError, opened

    commit = Registry(root).resolve(commit)
    wanted = recorded(root, commit).get(path)
    if wanted is None:
        raise RegistryError(f"commit {commit[:12]} records no {path}: it was not made by the pipeline, or not to its end")
    if target.exists():
        raise RegistryError(f"{target} is there already; name another target, or remove it first")
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with opened(root, cache=cache) as objects:
            objects.lay(wanted, path, partial)
        partial.rename(target)
    except ObjectError as lost:
        raise RegistryError(
            f"commit {commit[:12]}: {lost}; restore it there, from a backup or with `dvc push` on a machine that still has it"
        ) from None
    finally:
        _remove(partial)
    return target


def push(root: Path, commit: str) -> str:
    """Bring all data that a commit records to the remote; return where that is. Raises RegistryError when any of it did not arrive."""
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.transfer import transfer

    from flows.bridge.objects import ObjectError, opened
    from flows.bridge.workspace import settings_of

    if not settings_of(root)["core"].get("remote"):
        (HOME / "remote").mkdir(parents=True, exist_ok=True)
    with opened(root) as objects:
        there = _named(objects.repo.config)
        try:
            oids = [
                one
                for path, oid in recorded(root, commit).items()
                for one in (oid, *(one for name, one in objects.files(oid, path).items() if objects.ensure(one, f"{path}/{name}")))
            ]
        except ObjectError as lost:
            raise RegistryError(f"commit {commit[:12]} cannot be pushed: {lost}; run the stage that makes it again") from None
        try:
            # without DVC's index of what a remote is believed to have: the remote itself is asked
            here, wanted = objects.repo.cache.local, [HashInfo("md5", oid) for oid in dict.fromkeys(oids)]
            done = transfer(here, objects.repo.cloud.get_remote_odb(), wanted, cache_odb=here)
        except Exception as fault:  # of DVC, its plugins and their network libraries, which share no ancestor
            words = " ".join(str(fault).split()) or type(fault).__name__
            raise RegistryError(f"the remote {there} cannot be written to: {words}; see docs/registry.md") from fault
    if done.failed:
        raise RegistryError(
            f"{len(done.failed)} objects did not arrive at the remote {there}; look at its space and rights, then push again"
        )
    return there


def _named(config: Mapping[str, Any]) -> str:
    """Return what to call a remote: its address."""
    name = str(config["core"]["remote"])
    return str(config["remote"].get(name, {}).get("url", name))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
