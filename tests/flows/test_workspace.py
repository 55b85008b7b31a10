"""Runs in worktrees: what a person has checked out is neither touched nor blocked."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.repo import Repo

from evergreen.errors import PipelineError, RegistryError
from evergreen.release.registry import Registry
from flows.bridge import workspace as module
from flows.bridge.healing import heal
from flows.bridge.pipeline import environment
from flows.bridge.workspace import cache_of, sweep, workspace
from flows.making.produce import Order, commit_inputs
from tests.project_factories import git


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with DVC, one commit, a hook that refuses everything, and a dirty checkout."""
    monkeypatch.setattr(module, "HOME", tmp_path / "home")
    monkeypatch.setattr(module, "WORKTREES", tmp_path / "home" / "worktrees")
    root = tmp_path / "project"
    root.mkdir()
    git(root, "init", "--quiet", "--initial-branch=main")
    with Repo.init(str(root)):
        pass
    (root / "file.txt").write_text("committed\n")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message=one")
    for name in ("post-checkout", "pre-commit"):
        hook = root / ".git" / "hooks" / name
        hook.write_text("#!/bin/sh\nexit 1\n")
        hook.chmod(0o755)
    (root / "file.txt").write_text("a person's edit\n")
    (root / "staged.txt").write_text("staged\n")
    git(root, "add", "staged.txt")
    return root


def test_a_dirty_checkout_stays_as_it_is_and_the_worktree_is_clean(project: Path) -> None:
    before = git(project, "status", "--porcelain")
    with workspace(project, "main") as folder:
        assert (folder / "file.txt").read_text() == "committed\n"
        assert git(folder, "status", "--porcelain") == ""
        (folder / "file.txt").write_text("by a run\n")
        assert git(project, "status", "--porcelain") == before
    assert not folder.exists()
    assert git(project, "status", "--porcelain") == before
    assert git(project, "worktree", "list").count("\n") <= 1
    assert (project / "file.txt").read_text() == "a person's edit\n"


def test_two_at_once_have_folders_of_their_own_and_share_the_cache(project: Path) -> None:
    with workspace(project, "main") as one, workspace(project, "main") as other:
        assert one != other
        for folder in (one, other):
            with Repo(str(folder)) as repo:
                assert Path(repo.cache.local.path).is_relative_to(cache_of(project))


def test_without_a_remote_of_the_project_a_folder_is_the_remote(project: Path) -> None:
    with workspace(project, "main") as folder, Repo(str(folder)) as repo:
        assert repo.config["remote"][repo.config["core"]["remote"]]["url"] == str(module.HOME / "remote")


def test_a_persons_own_remote_and_credentials_are_used(project: Path) -> None:
    (project / ".dvc" / "config.local").write_text("[core]\n    remote = mine\n['remote \"mine\"']\n    url = ../../elsewhere\n")
    with workspace(project, "main") as folder, Repo(str(folder)) as repo:
        assert repo.config["core"]["remote"] == "mine"
        assert Path(repo.config["remote"]["mine"]["url"]).resolve() == project.parent / "elsewhere"
        assert not (module.HOME / "remote").exists()


def test_an_error_inside_removes_the_worktree_unless_it_is_to_be_kept(project: Path) -> None:
    for keep in (False, True):
        with pytest.raises(RuntimeError), workspace(project, "main", keep=keep) as folder:
            raise RuntimeError
        assert folder.exists() is keep


def test_what_a_killed_run_leaves_is_swept_and_what_is_in_use_is_not(project: Path) -> None:
    code = (
        "import os, sys, time; from pathlib import Path; from flows.bridge.workspace import workspace\n"
        "with workspace(Path(sys.argv[1]), 'main') as folder:\n    print(folder, flush=True); time.sleep(600)"
    )
    environment = os.environ | {"EVERGREEN_HOME": str(module.HOME)}
    process = subprocess.Popen([sys.executable, "-c", code, str(project)], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    assert folder.is_dir()
    assert sweep(project) == []
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert sweep(project) == [folder]
    assert not folder.exists()
    assert git(project, "worktree", "list").count("\n") <= 1


def test_an_unknown_commit_is_one_clear_message(project: Path) -> None:
    with pytest.raises(PipelineError, match="there is no commit 'nowhere'"), workspace(project, "nowhere"):
        pass


def test_outside_a_repository_the_message_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="git rev-parse"), workspace(tmp_path, "main"):
        pass


def test_called_from_a_hook_it_touches_neither_branch_nor_index_of_the_person(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(project, "-c", "core.hooksPath=/dev/null", "worktree", "add", "--quiet", "-b", "own", str(project.with_name("linked")), "main")
    linked, there = project.with_name("linked"), project / ".git" / "worktrees" / "linked"
    before = [(linked / "file.txt").read_text(), (there / "index").read_bytes(), git(project, "rev-parse", "main", "own")]
    with monkeypatch.context() as hook:  # as git sets them for a post-commit hook in a linked worktree
        hook.setenv("GIT_DIR", str(there))
        hook.setenv("GIT_INDEX_FILE", str(there / "index"))
        with workspace(linked, "main") as folder:
            (folder / "dvc.lock").write_bytes(b"\0\0")
            heal(folder, say=lambda _: None)
            assert not {"GIT_DIR", "GIT_INDEX_FILE"} & environment(folder).keys()
            order = Order(git(project, "rev-parse", "main").strip(), "Ada", "a hook", champion=None, gathered=None)
            made = commit_inputs(Registry(linked), folder, order, say=lambda _: None)
            assert Registry(folder).resolve("HEAD") == made
    assert [(linked / "file.txt").read_text(), (there / "index").read_bytes(), git(project, "rev-parse", "main", "own")] == before
    assert git(project, "worktree", "list").count("\n") == 2
