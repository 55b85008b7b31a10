"""The retraining as a Prefect flow: what Prefect's pages get to see of it, and its command."""

from pathlib import Path
from typing import Any

import pytest
from prefect.testing.utilities import prefect_test_harness

from flows import retrain as module
from flows.__main__ import main
from tests.loop_factories import quickly
from tests.loop_runs import told
from tests.project_factories import commit_params


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # Prefect's own server, and DVC, in this process
def test_the_flow_ends_as_its_verdict_and_one_too_many_as_refused(looped: Path, loop_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.client.orchestration import get_client

    commit_params(looped, {"policy.min_labels": 10})
    monkeypatch.setattr(module, "reproduce", lambda folder, stage: module.as_task(stage, lambda: quickly(folder, stage)))
    monkeypatch.setattr(module, "by_release_flow", lambda *_: "it would be live now")
    with told(loop_home), prefect_test_harness(server_startup_timeout=180):
        made: Any = module.retrain(looped, return_state=True)
        assert (made.name, made.is_completed()) == ("Promote", True)
        again: Any = module.retrain(looped, return_state=True)
        assert again.name == "Refused" and "not now:" in again.message
        with get_client(sync_client=True) as client:
            artifacts = {artifact.key: artifact for artifact in client.read_artifacts()}
            tasks = {run.name for run in client.read_task_runs()}
    assert {"retraining", "verdict"} <= {*artifacts}
    assert {"rows", "inputs", "ingest", "gate", "package", "record"} <= tasks


def test_the_command_says_what_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["retrain", "--help"])
    assert "in spite of a cooldown" in capsys.readouterr().out


def test_the_command_needs_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["retrain"])
    assert "there is no dvc.yaml" in capsys.readouterr().err
