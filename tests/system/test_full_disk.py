"""A full disk at any stage: one message, the old outputs and dvc.lock survive, nothing half-written is used, and the next run heals.

The disk is a small one in memory, filled to the last kilobytes; it takes the right to mount one.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.bridge.healing import heal
from tests.project_factories import copied, dvc, environment, evergreen, outputs, partials, steady
from tests.system.test_kill import STAGES, content, forget

pytestmark = pytest.mark.timeout(900)
SIZE = 300_000_000  # bytes
LEFT = 40_000  # room for DVC's locks, and for no stage's work
QUICK = "split"
SMALL = {"validate", "calibrate", "audit", "gate", "challenge", "document"}  # fit into what is left, or nearly


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", folder], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def project(finished: Path, disk: Path) -> Path:
    """A finished project on the small disk; what tools keep beside it lies elsewhere."""
    project = copied(finished, disk / "project")
    state = Path(environment(project)["DVC_SITE_CACHE_DIR"]).parent
    (disk.parent / "state").mkdir()
    state.symlink_to(disk.parent / "state")
    return project


def fill(disk: Path, left: int) -> Path:
    """Fill the disk but for some bytes."""
    filler = disk / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free - left)
    return filler


def present(project: Path, paths: list[str]) -> dict[str, object]:
    return {path: content(project / path) for path in paths if (project / path).exists()}


@pytest.mark.parametrize("stage", [pytest.param(stage, marks=() if stage == QUICK else pytest.mark.long) for stage in STAGES])
def test_a_full_disk_stops_a_stage_and_the_next_run_heals(stage: str, finished: Path, project: Path, disk: Path) -> None:
    expected = steady(finished)
    forget(project, stage)
    lock = (project / "dvc.lock").read_bytes()
    filler = fill(disk, 0 if stage in SMALL else LEFT)
    done = dvc(project, "repro", "--single-item", stage, check=False)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    # DVC's own lock table may be what is cut short
    assert any(words in said for words in ("disk is full", "No space left on device", "Unable to read RWLock-file"))
    assert "Traceback" not in said
    assert (project / "dvc.lock").read_bytes() == lock
    assert partials(project) == []
    # what stands there is whole; and DVC does not take it for made, because dvc.lock does not know it
    found = present(project, list(outputs(finished)))
    assert {path for path in expected if path in found and found[path] != content(finished / path)} == set()

    filler.unlink()
    heal(project, say=print)  # what `evergreen train` begins with
    dvc(project, "repro")
    assert steady(project) == expected
    assert partials(project) == []


def test_train_on_a_full_disk_says_so_at_once_and_touches_nothing(project: Path, disk: Path) -> None:
    forget(project, QUICK)
    lock = (project / "dvc.lock").read_bytes()
    fill(disk, LEFT)
    done = evergreen(project, "train", check=False)
    assert done.returncode == 1
    assert "MB left, and a run needs 32 MB at the least; free some" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert (project / "dvc.lock").read_bytes() == lock
