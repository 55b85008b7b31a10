"""The whole loop: raw messages to a packaged model, by `dvc repro` alone or as a flow, the same bytes both ways."""

from pathlib import Path

import pytest
import yaml

from evergreen.params_file import edit_params
from tests.project_factories import dvc, evergreen, git, outputs, small_project, steady
from tests.system.network import attempts, guarded

pytestmark = pytest.mark.timeout(900)


def test_one_command_makes_every_output(finished: Path) -> None:
    made = outputs(finished)
    assert len(yaml.safe_load((finished / "dvc.lock").read_text(encoding="utf-8"))["stages"]) == 14
    assert [path for path in made if not (finished / path).exists()] == []
    assert (finished / "build/bento/bento.yaml").is_file()


def test_a_run_leaves_git_clean_but_for_what_a_version_is_made_of(project: Path) -> None:
    git(project, "rm", "--quiet", "--cached", "dvc.lock", "reports/metrics.json")
    changed = {line[3:] for line in git(project, "status", "--porcelain").splitlines() if line.startswith("??")}
    assert changed == {"dvc.lock", "reports/metrics.json"}


def test_a_second_repro_runs_nothing(project: Path) -> None:
    before = (project / "dvc.lock").read_bytes()
    done = dvc(project, "repro")
    assert done.stdout.count("didn't change, skipping") == 14
    assert "Data and pipelines are up to date" in done.stdout
    assert (project / "dvc.lock").read_bytes() == before


def test_train_says_that_all_is_up_to_date_and_shows_the_summary(project: Path) -> None:
    said = evergreen(project, "train").stdout
    assert "All 14 stages are up to date" in said
    assert "Starting a flow run" not in said
    for shown in ("accuracy", "Verdict", "reports/dossier.html", "build/bento", "next"):
        assert shown in said


@pytest.mark.long
def test_a_flow_runs_what_an_edit_touches_shows_the_rest_as_cached_and_stays_on_this_machine(project: Path) -> None:
    edit_params(project / "params.yaml", {"gate.rules.artifact_size.max_megabytes": 400})
    said = evergreen(project, "train", **guarded(project)).stdout
    assert said.count("cached: nothing it depends on has changed") == 11
    assert "REJECT" in said[said.index("\ngate\n") : said.index("\ndocument\n")]
    assert attempts(project) == []
    assert evergreen(project, "train").stdout.startswith("All 14 stages are up to date")


@pytest.mark.long
def test_train_from_nothing_gives_the_bytes_that_dvc_alone_gives(finished: Path, tmp_path: Path) -> None:
    project = small_project(tmp_path / "project")
    said = evergreen(project, "train", **guarded(project)).stdout
    assert "What the model is worth" in said
    assert outputs(project).keys() == outputs(finished).keys()
    assert steady(project) == steady(finished)
    assert attempts(project) == []
