"""The monitor as a flow and as a command: what Prefect and a person get to see of a look."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prefect.testing.utilities import prefect_test_harness

from flows import monitor as module
from flows.__main__ import main
from flows.look_words import markdown, sentence
from tests.watch_factories import Watched, quiet, watched


@pytest.fixture
def project(tmp_path: Path) -> Watched:
    made = watched(tmp_path)
    made.answer(quiet(60, seed=11), days=(0, 1))
    return made


def test_a_look_is_told_in_one_line_and_one_page(project: Watched) -> None:
    found = project.look(1.0)
    assert sentence(found) == f"window 1 of {project.model.version}, 60 answers: no drift; decision: nothing"
    page = markdown(found)
    assert page.startswith("**nothing**: no reason to retrain")
    assert "| by late labels | – | – | – |" in page
    assert "| age\\_band | group |" in page
    assert sentence(project.look(1.0)) == "no time has passed since the last window"


def test_what_has_changed_is_told_and_no_word_becomes_markup(project: Watched) -> None:
    found = project.look(1.0)
    word = {"word": "a|b*c", "now": 0.2, "before": 0.0, "score": 5.0, "new": True}
    page = markdown(replace(found, facts={**(found.facts or {}), "explanation": {"words": [word], "slices": []}}))
    assert "| word a\\|b\\*c (new) | 20.0% | 0.0% |" in page


def test_the_command_judges_a_window_and_shows_what_was_seen(
    project: Watched, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project.root)
    project.look(1.0)
    main(["monitor", "show", "--log", project.url])
    told = capsys.readouterr().out
    assert project.model.version in told and "nothing" in told and "60" in told
    main(["monitor", "show", "--log", project.url, "--json"])
    assert '"number": 1' in capsys.readouterr().out


def test_an_unknown_window_is_one_clear_message(project: Watched, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(project.root)
    project.look(1.0)
    with pytest.raises(SystemExit):
        main(["monitor", "show", "zzz", "--log", project.url])
    assert "no window has an id that begins with 'zzz'" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # Prefect's own server, in this process
def test_the_flow_runs_each_part_as_a_task_and_says_what_it_came_to(project: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HOME", project.home)
    monkeypatch.setenv("EVERGREEN_LOG_URL", project.url)
    with prefect_test_harness(server_startup_timeout=180):
        state = module.monitor(project.root, return_state=True)
        assert state.is_completed() and "no drift; decision: nothing" in (state.message or "")
        waiting: Callable[..., Any] = module.monitor(project.root, return_state=True)
        assert waiting.name == "Waiting"
