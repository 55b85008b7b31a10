"""What a person sees when a stage fails or when two runs meet in one folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from evergreen.params_file import edit_params
from tests.project_factories import PATIENCE, dvc, environment, evergreen, partials, steady, until
from tests.system.test_kill import at_work, forget, started

pytestmark = pytest.mark.timeout(900)


@pytest.mark.long
def test_a_failing_stage_ends_the_flow_with_its_own_words_said_once(project: Path) -> None:
    edit_params(project / "params.yaml", {"validate.min_rows": 5000})
    done = evergreen(project, "train", check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert said.count("5,000") == 1, said
    assert "Traceback" not in said
    assert "validate stopped" in said


def test_a_second_repro_in_the_folder_is_refused_and_the_first_ends_well(finished: Path, project: Path) -> None:
    forget(project, "split")
    first = started(project)
    until(lambda: at_work("split", project))
    second = dvc(project, "repro", check=False)
    said = second.stdout + second.stderr
    assert first.wait(PATIENCE) == 0
    assert second.returncode != 0
    assert f"is busy, it is being blocked by:\n  (PID {first.pid})" in said
    assert steady(project) == steady(finished)
    assert partials(project) == []


@pytest.mark.long
def test_two_trains_at_once_say_so_and_end_at_the_same_bytes(finished: Path, project: Path) -> None:
    forget(project, "split")
    words = [sys.executable, "-m", "flows", "train"]
    runs = [subprocess.Popen(words, cwd=project, env=environment(project), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for _ in range(2)]  # fmt: skip
    said = [run.communicate(timeout=PATIENCE)[0] for run in runs]
    statuses = [run.returncode for run in runs]
    assert 0 in statuses
    for told, status in zip(said, statuses, strict=True):
        assert status == 0 or "another run is at work in this folder" in told, told
    dvc(project, "repro")
    assert steady(project) == steady(finished)
