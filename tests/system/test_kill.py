"""kill -9 in the middle of any stage: no half-written output, and a re-run ends at the same bytes as an undisturbed run."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
import yaml

from tests.project_factories import DVC, PATIENCE, ROOT, dvc, environment, partials, steady, until

STAGES = list(yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"])
VICTIMS = ("stage", "dvc", "group")
pytestmark = pytest.mark.timeout(900)


def forget(project: Path, stage: str) -> None:
    """Make a stage due again for real: neither its outputs nor DVC's memory of them remain."""
    lock = project / "dvc.lock"
    content = yaml.safe_load(lock.read_text(encoding="utf-8"))
    for out in content["stages"].pop(stage)["outs"]:
        path = project / out["path"]
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    lock.write_text(yaml.safe_dump(content), encoding="utf-8")
    shutil.rmtree(project / ".dvc/cache/runs")
    shutil.rmtree(project / ".evergreen/locks")


def started(project: Path) -> subprocess.Popen[bytes]:
    """Start `dvc repro` in a process group of its own."""
    return subprocess.Popen([*DVC, "repro"], cwd=project, env=environment(project), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                            start_new_session=True)  # fmt: skip


def runners(stage: str, project: Path) -> list[psutil.Process]:
    """Return the living processes that run a stage in a project."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd", "status"]):
        words = process.info["cmdline"] or []
        if f"stages.{stage}" in words and process.info["cwd"] == str(project) and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def content(path: Path) -> dict[Path, bytes]:
    """Return the bytes of a file, or of every file of a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return {file.relative_to(path): file.read_bytes() for file in files}


def checkpoints(project: Path) -> list[Path]:
    return list(project.glob(".evergreen/checkpoints/*/step-*"))


def at_work(stage: str, project: Path) -> bool:
    """Say whether the stage has begun its own work; a training also has a checkpoint."""
    begun = (project / f".evergreen/locks/{stage}.lock").exists()
    return begun and (stage != "finetune" or any(checkpoints(project)))


def kill(victim: str, run: subprocess.Popen[bytes], stage: str, project: Path) -> None:
    if victim == "group":
        os.killpg(run.pid, signal.SIGKILL)
    elif victim == "dvc":
        run.kill()
    else:
        for process in runners(stage, project):
            process.kill()
    run.wait(PATIENCE)
    until(lambda: not runners(stage, project))


QUICK = ("finetune", "stage")  # the one with most to lose; all others are long cases
CASES = [(stage, VICTIMS[place % 3]) for place, stage in enumerate(STAGES)] + [("finetune", victim) for victim in VICTIMS]
CASES += [("ingest", "dvc"), ("calibrate", "group")]


@pytest.mark.parametrize(
    ("stage", "victim"), [pytest.param(*case, marks=() if case == QUICK else pytest.mark.long) for case in dict.fromkeys(CASES)]
)
def test_a_kill_in_a_stage_leaves_nothing_half_written_and_a_re_run_gives_the_same_bytes(
    stage: str, victim: str, finished: Path, project: Path
) -> None:
    expected = steady(finished)
    forget(project, stage)
    lost = [path for path in expected if not (project / path).exists()]
    run = started(project)
    until(lambda: at_work(stage, project))
    kill(victim, run, stage, project)
    resumable = any(checkpoints(project))  # nearly always; on a busy machine the training may just have ended
    assert run.returncode != 0
    # none, unless the kill met the moment in which finished outputs take their names one by one
    assert [path for path in lost if (project / path).exists() and content(project / path) != content(finished / path)] == []
    assert stage not in yaml.safe_load((project / "dvc.lock").read_text(encoding="utf-8"))["stages"]

    said = dvc(project, "repro").stdout
    assert steady(project) == expected
    assert partials(project) == []
    assert ("going on from the checkpoint at step" in said) == resumable


@pytest.mark.long
def test_killing_dvc_alone_before_a_stage_has_begun_leaves_one_writer_at_a_time(finished: Path, project: Path) -> None:
    forget(project, "split")
    run = started(project)
    until(lambda: bool(runners("split", project)))
    run.kill()
    run.wait(PATIENCE)
    dvc(project, "repro")
    assert runners("split", project) == []
    assert steady(project) == steady(finished)
    assert partials(project) == []
