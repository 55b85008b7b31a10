"""The flow: states that say what became of each stage. Prefect's part is tried once, for real; the rest through task functions."""

import logging
from pathlib import Path

import pytest

from evergreen.errors import PipelineError
from flows import tasks
from flows.tasks import reproduce


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(tasks, "get_run_logger", lambda: logging.getLogger("a run"))
    return caplog


def outcome(result: str, monkeypatch: pytest.MonkeyPatch, **options: bool):
    """Run the task on a pipeline in which every stage ends like this, and return the state that it ends in."""

    def pretended(root: Path, stage: str, *, say, force: bool) -> str:
        say(f"  {stage} at work, force {force}")
        if result == "failed":
            raise PipelineError(f"{stage} stopped: no more rows")
        return result

    monkeypatch.setattr(tasks.pipeline, "reproduce", pretended)
    return reproduce.fn(Path("."), "split", **options)


@pytest.mark.parametrize(
    ("result", "name", "message"),
    [
        ("ran", "Completed", "ran"),
        ("unchanged", "Cached", "nothing it depends on has changed"),
        ("restored", "Cached", "restored from an earlier run"),
    ],
)
def test_a_stage_that_did_not_need_to_run_ends_as_cached(
    result: str, name: str, message: str, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    state = outcome(result, monkeypatch)
    assert (state.name, state.message, state.is_completed()) == (name, message, True)
    assert log.messages[0] == "  split at work, force False"
    assert log.messages[1:] == ([] if result == "ran" else [f"  cached: {message}"])


def test_force_reaches_the_stage(monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture) -> None:
    outcome("ran", monkeypatch, force=True)
    assert log.messages == ["  split at work, force True"]


def test_a_stage_that_fails_fails_its_task_with_the_stages_words(monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture) -> None:
    with pytest.raises(PipelineError, match="split stopped: no more rows"):
        outcome("failed", monkeypatch)
