"""A git worktree of one's own for a run: a person's checkout, its index and its branch are never touched, and never in the way.

A workspace lies under EVERGREEN_HOME/worktrees, at a pinned commit, and shares the project's DVC cache. Its process holds a lock beside
it for as long as it lives, so that what a killed run leaves behind can be told from what is in use, and swept away.
Knows nothing of what is done in it.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dvc.config import Config, ConfigError

from evergreen.errors import PipelineError, RegistryError
from evergreen.monitoring.log.records import new_id
from evergreen.release.plumbing import Git
from flows import HOME, WORKTREES
from flows.bridge import REMOTE


@contextmanager
def workspace(root: Path, commit: str, *, purpose: str = "run", keep: bool = False, cache: Path | None = None) -> Iterator[Path]:
    """Give the project's folder in a fresh worktree at `commit`; it is removed at the end, also after an error unless `keep` is set.

    `root` is the project's folder in a person's checkout, at the top of its repository or below. `cache` is another DVC cache than the
    project's, a relative one lies in the worktree. Raises RegistryError where git or the repository cannot be used, PipelineError where
    there is no such commit.
    """
    git = Git(root)
    top = Path(git.run("rev-parse", "--show-toplevel").decode().strip())
    inside = root.resolve().relative_to(top.resolve())
    pinned = git.commit_of(commit)
    if pinned is None:
        raise PipelineError(f"there is no commit {commit!r} in {top}")
    sweep(root)
    WORKTREES.mkdir(parents=True, exist_ok=True)
    folder = WORKTREES / f"{purpose}-{new_id()[:18]}"
    whole = False
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        try:
            git.run("worktree", "add", "--quiet", "--detach", str(folder), pinned)
            _configure(root, folder / inside, cache)
            yield folder / inside
            whole = True
        finally:
            if keep and not whole:
                folder.with_suffix(".lock").unlink()  # what has none is swept by nobody
            else:
                _remove(root, folder)


def sweep(root: Path) -> list[Path]:
    """Remove the worktrees of processes that are gone; return them. Those kept for a look have no lock file and stay."""
    gone = []
    for path in sorted(WORKTREES.glob("*.lock")):
        with suppress(FileNotFoundError), path.open("r") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            _remove(root, path.with_suffix(""))
            gone.append(path.with_suffix(""))
    return gone


def cache_of(root: Path) -> Path:
    """Return the folder of a project's DVC cache."""
    return Path(settings_of(root)["cache"].get("dir") or root / ".dvc" / "cache").resolve()


def settings_of(root: Path) -> Config:
    """Return a project's DVC settings of every level, the person's own included."""
    try:
        return Config(str(root / ".dvc"))
    except ConfigError as fault:
        raise PipelineError(f"DVC's settings in {root / '.dvc'} cannot be read: {fault}") from None


def _configure(root: Path, project: Path, cache: Path | None) -> None:
    """Give a worktree the person's own DVC settings (credentials among them), the cache to share, and a remote."""
    own = root / ".dvc" / "config.local"
    if own.is_file():
        shutil.copy2(own, project / ".dvc" / "config.local")
    with settings_of(project).edit("local") as local:
        local["cache"]["dir"] = str(project / (cache or cache_of(root)))
        for name, remote in settings_of(root)["remote"].items():  # a folder is written as seen from the settings' own place
            local["remote"].setdefault(name, {})["url"] = str(remote["url"])
    settings = settings_of(project)
    if settings["core"].get("remote"):
        return
    (HOME / "remote").mkdir(parents=True, exist_ok=True)
    with settings.edit("local") as local:
        local["remote"][REMOTE] = {"url": str(HOME / "remote")}
        local["core"]["remote"] = REMOTE


def _remove(root: Path, folder: Path) -> None:
    with suppress(RegistryError):
        Git(root).run("worktree", "remove", "--force", "--force", str(folder))
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(RegistryError):
        Git(root).run("worktree", "prune")
    folder.with_suffix(".lock").unlink(missing_ok=True)
