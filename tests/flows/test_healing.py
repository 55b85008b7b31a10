"""What a power cut or a full disk leaves behind is mended before a run, and what is sound stays."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from evergreen.errors import PipelineError
from flows.bridge.healing import LEFT_BEHIND, heal
from flows.bridge.pipeline import changed
from tests.flows.test_pipeline import project, through
from tests.project_factories import git

__all__ = ["project"]
# DVC itself uses what its library is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise:DeprecationWarning")


@pytest.mark.parametrize("content", [b"", b"\0" * 64], ids=["empty", "zeros"])
def test_an_emptied_lock_table_is_removed(project: Path, content: bytes) -> None:
    table = project / ".dvc" / "tmp" / "rwlock"
    table.parent.mkdir()
    table.write_bytes(content)
    said: list[str] = []
    heal(project, say=said.append)
    assert not table.exists()
    assert len(said) == 1
    assert through(project, "root")[0] == "ran"


def test_a_sound_lock_table_and_a_sound_dvc_lock_stay(project: Path) -> None:
    through(project, "root")
    before = (project / "dvc.lock").read_bytes()
    said: list[str] = []
    heal(project, say=said.append)
    assert said == []
    assert (project / "dvc.lock").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"schema: '2.0'\nstages:\n  root:\n    cmd: 'pyth"], ids=["empty", "zeros", "cut"])
def test_an_emptied_or_cut_dvc_lock_comes_back_from_the_last_commit(project: Path, content: bytes) -> None:
    through(project, "root")
    before = (project / "dvc.lock").read_bytes()
    git(project, "init", "--quiet")
    git(project, "add", "dvc.lock")
    git(project, "commit", "--quiet", "--message=A model")
    (project / "dvc.lock").write_bytes(content)
    said: list[str] = []
    heal(project, say=said.append)
    assert (project / "dvc.lock").read_bytes() == before
    assert "from the last commit" in said[0]
    assert not changed(project, "root")


def test_an_emptied_dvc_lock_that_was_never_committed_is_removed_and_its_stages_are_restored(project: Path) -> None:
    through(project, "root")
    subprocess.run(["git", "init", "--quiet"], cwd=project, check=True)
    (project / "dvc.lock").write_bytes(b"")
    said: list[str] = []
    heal(project, say=said.append)
    assert "removed" in said[0]
    assert through(project, "root")[0] == "restored"


def test_a_dvc_lock_with_both_sides_of_a_merge_is_left_to_a_person(project: Path) -> None:
    through(project, "root")
    lock = project / "dvc.lock"
    content = b"<<<<<<< mine\n" + lock.read_bytes() + b"=======\n>>>>>>> theirs\n"
    lock.write_bytes(content)
    heal(project, say=print)
    assert lock.read_bytes() == content


def test_half_written_objects_are_swept_once_nobody_writes_them(project: Path) -> None:
    through(project, "root")
    folder = project / ".dvc/cache/files/md5"
    old, young = folder / ".left-behind.tmp", folder / ".in-work.tmp"
    for path in (old, young):
        path.write_bytes(b"half")
    past = time.time() - LEFT_BEHIND - 1
    os.utime(old, (past, past))
    heal(project, say=print)
    assert (old.exists(), young.exists()) == (False, True)
    assert through(project, "root") == ("unchanged", [])


def test_a_cut_lock_table_stops_a_stage_with_the_remedy_and_is_removed(project: Path) -> None:
    table = project / ".dvc" / "tmp" / "rwlock"
    table.parent.mkdir()
    table.write_text('{"root.txt": {"write": {"pid": 1, "cmd": "dvc re')
    with pytest.raises(PipelineError, match=r"damaged DVC's lock table; .* run `evergreen train`"):
        through(project, "root")
    heal(project, say=print)
    assert through(project, "root")[0] == "ran"
