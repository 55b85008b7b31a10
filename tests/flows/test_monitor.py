"""The monitor as a flow and as a command: what Prefect and a person get to see of a look."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prefect.testing.utilities import prefect_test_harness

from evergreen.drift.assumption import SENTENCE
from flows import monitor as module
from flows.__main__ import main
from flows.looking.words import markdown, sentence
from tests.watch_factories import ROOT, Watched, quiet, watched


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


def test_an_estimate_is_shown_with_its_assumption(
    project: Watched, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project.root)
    found = project.look(1.0)
    assert found.facts and SENTENCE in markdown(found).splitlines()
    assert SENTENCE not in markdown(replace(found, facts={**found.facts, "estimate": None}))
    for asked in ([], [found.facts["id"]]):
        main(["monitor", "show", *asked, "--log", project.url])
        assert SENTENCE in capsys.readouterr().out


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


@pytest.mark.long
def test_evidentlys_pages_are_served_to_this_machine_alone_and_end_with_the_command(project: Watched) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Evidently's own
        project.look(1.0, evidently=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "EVERGREEN_HOME": str(project.home), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "flows", "monitor", "dashboard", "--port", str(port)]
    with subprocess.Popen(
        command, cwd=project.root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as served:
        try:
            projects = answered(f"http://127.0.0.1:{port}/api/projects")
            assert [one["name"] for one in projects] == ["harbour-inbox"]
        finally:
            served.send_signal(signal.SIGINT)
            told = served.communicate(timeout=120)[0]
    assert f"http://127.0.0.1:{port}" in told and "Traceback" not in told
    reports = [path.name for path in (project.home / "monitor" / "reports").iterdir()]
    assert len(reports) == 1 and reports[0] in (project.home / "monitor" / "index.html").read_text(encoding="utf-8")


def answered(url: str) -> Any:
    """Ask until there is an answer."""
    end = time.monotonic() + 180
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)
        except OSError:
            assert time.monotonic() < end, f"{url} does not answer"
            time.sleep(0.2)
