"""The flow: states that say what became of each stage. Prefect's part is tried once, for real; the rest through task functions."""

import logging
from pathlib import Path
from typing import Any

import pytest

from evergreen.errors import PipelineError
from evergreen.reports import write_report
from flows import tasks
from flows import train as module
from flows.bridge.pipeline import Pipeline
from flows.tasks import reproduce
from tests.dossier_factories import reports
from tests.gate_factories import measured


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


def test_a_run_leaves_figures_verdict_and_places_on_prefects_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verdict, figures = reports()["verdict"], {"accuracy": measured(0.84, 0.801, 0.878), "macro_f1": measured(0.834, 0.794, 0.871)}
    outputs = {
        "evaluate": {"metrics": Path("metrics.json")},
        "gate": {"verdict": Path("verdict.json")},
        "document": {"dossier": Path("dossier.html"), "card": Path("CARD.md")},
        "snapshot": {"page": Path("drift.html")},
    }
    write_report({"rows": 375, **figures, "baseline": figures}, tmp_path / "metrics.json")
    write_report(verdict, tmp_path / "verdict.json")
    left: dict[str, dict[str, Any]] = {}
    monkeypatch.setattr(module, "create_markdown_artifact", lambda text, **said: left.update({said.pop("key"): {"text": text, **said}}))
    monkeypatch.setattr(module, "create_table_artifact", lambda rows, **said: left.update({said.pop("key"): {"rows": rows, **said}}))
    module._show(tmp_path, Pipeline(list(outputs), outputs))
    page = left["training"]["text"]
    assert page.startswith(f"# {verdict['summary']}\n") and f"`{tmp_path / 'dossier.html'}`" in page
    assert "| accuracy | 0.840 | 0.801 to 0.878 | 0.840 |" in page
    assert {row["rule"] for row in left["verdict"]["rows"]} == {rule["title"] for rule in verdict["rules"]}
    assert left["verdict"]["description"] == verdict["summary"]
