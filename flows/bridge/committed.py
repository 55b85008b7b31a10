"""The settings that runs go by: as committed on the branch that `retrain.branch` names, whatever has changed in the checkout since.

What a run does can so be told from its commit, and a file that is half edited stops no run.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from evergreen.config import Params, load_params, parse_params
from evergreen.errors import PipelineError, RegistryError
from evergreen.release.plumbing import Git

PARAMS = "params.yaml"
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Committed:
    """Settings and the commit that they, and the code, come from; `fault` where there is no such branch: then they are those of HEAD."""

    params: Params
    commit: str
    fault: PipelineError | None = None


def committed(root: Path, say: Say = lambda _: None) -> Committed:
    """Return what runs go by, and say so where the checkout's own file differs.

    Raises RegistryError where there is no repository or no such file in it, ConfigError where the settings are at fault.
    """
    git = Git(root)
    head = git.commit_of("HEAD")
    if head is None:
        raise RegistryError(f"nothing is committed in {root} yet, and runs work from what is: git add --all && git commit")
    here = _at(git, head)
    branch = here.retrain.branch
    commit = git.commit_of(branch)
    if commit is None:
        words = f"there is no commit {branch!r} in {root}: that is retrain.branch in {PARAMS}; write the name of the branch your code is on"
        return Committed(here, "", PipelineError(words))
    if git.read(PARAMS, commit) != _bytes(root):
        say(f"{PARAMS} in {root} differs from what is committed on {branch}; this run goes by {branch} ({commit[:12]})")
    return Committed(here if commit == head else _at(git, commit), commit)


def params_of(root: Path, say: Say = lambda _: None) -> Params:
    """Return the settings that runs go by; where nothing is committed, as without a repository, those of the file."""
    try:
        return committed(root, say).params
    except RegistryError:
        return load_params(root / PARAMS)


def _at(git: Git, commit: str) -> Params:
    content = git.read(PARAMS, commit)
    if content is None:
        raise RegistryError(
            f"{PARAMS} is not in commit {commit[:12]}, and runs work from what is committed: git add {PARAMS} && git commit"
        )
    return parse_params(content, f"{PARAMS} at commit {commit[:12]}")


def _bytes(root: Path) -> bytes | None:
    try:
        return (root / PARAMS).read_bytes()
    except OSError:
        return None
