"""What `evergreen status` shows, whatever part of it is missing."""

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from evergreen.drift.assumption import IN_SHORT
from flows.commands import status as module
from flows.commands.status import Run, Status, gather, shown
from tests.monitor_factories import estimated, facts, measured
from tests.prefect_factories import free_port

MONITOR, STRANGER = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


def words(status: Status) -> str:
    console = Console(file=io.StringIO(), width=120, highlight=False)
    console.print(shown(status))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "HOME", tmp_path)
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path))
    monkeypatch.delenv("EVERGREEN_LOG_URL", raising=False)
    return tmp_path


class Prefect(BaseHTTPRequestHandler):
    """Answers as Prefect's server does: one deployment of ours with two runs, and one of somebody else."""

    asked: dict[str, str | None] = {}  # noqa: RUF012 (filled by a test)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.asked[self.path] = self.headers["authorization"]
        content: Any = [{"id": MONITOR, "name": "monitor", "tags": ["evergreen"]}, {"id": STRANGER, "name": "theirs", "tags": []}]
        if self.path == "/api/flow_runs/filter":
            assert body["deployments"]["id"]["any_"] == [MONITOR]
            common = {"deployment_id": MONITOR, "name": "great-owl"}
            due = {"next_scheduled_start_time": "2026-12-01T06:00:00Z", "expected_start_time": None, "state_name": "Scheduled"}
            run = {"start_time": "2026-11-30T06:00:00Z", "state_name": "Failed", "state": {"message": "no reference"}}
            content = [{**common, **due}] * 3 if "state" in body["flow_runs"] else [{**common, **run}]
        answer = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *words: Any) -> None:
        pass


@pytest.fixture
def prefect() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Prefect) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()
        thread.join()


@pytest.fixture
def project() -> Path:
    return Path(__file__).parents[2]


def test_an_estimate_is_shown_with_its_assumption() -> None:
    told = " ".join(words(Status(window=facts(quality=measured(0.8), estimate=estimated(0.81)))).split())
    assert f"accuracy measured 0.800, accuracy estimated 0.810 ({IN_SHORT})" in told
    assert IN_SHORT not in words(Status(window=facts(quality=measured(0.8))))


def test_where_nothing_is_there_it_says_what_to_do(home: Path, project: Path) -> None:
    found = gather(project, None)
    assert found == Status()
    assert "`evergreen retrain` makes the first version" in words(found) and "`evergreen up` starts it" in words(found)


def test_a_damaged_pointer_is_a_note_and_the_rest_is_shown(home: Path, project: Path, prefect: str) -> None:
    (home / "serve").mkdir()
    (home / "serve" / "live.json").write_text("{")
    found = gather(project, prefect)
    assert [note for note in found.notes if "live.json is damaged" in note]
    assert [run.deployment for run in found.upcoming] == ["monitor"]


def test_a_slip_in_the_settings_is_a_note_and_the_rest_is_shown(home: Path, tmp_path: Path, prefect: str) -> None:
    (tmp_path / "params.yaml").write_text("serve: {port: [")
    found = gather(tmp_path, prefect)
    assert [note for note in found.notes if "params.yaml" in note]
    assert [run.deployment for run in found.upcoming] == ["monitor"]


def test_a_server_that_does_not_answer_is_a_note(home: Path, project: Path) -> None:
    api = f"http://127.0.0.1:{free_port()}/api"
    assert [note for note in gather(project, api).notes if f"Prefect does not answer on {api}" in note]


def test_runs_are_ours_alone_and_each_deployment_is_due_once(home: Path, project: Path, prefect: str) -> None:
    found = gather(project, prefect)
    assert found.runs == [Run("monitor", "great-owl", "Failed", "2026-11-30T06:00:00Z", "no reference")]
    assert found.upcoming == [Run("monitor", "great-owl", "Scheduled", "2026-12-01T06:00:00Z")]
    assert "Failed  no reference" in words(found)


def test_a_server_with_a_password_is_told_it(home: Path, project: Path, prefect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "name:word")
    gather(project, prefect)
    assert Prefect.asked == dict.fromkeys(("/api/deployments/filter", "/api/flow_runs/filter"), "Basic bmFtZTp3b3Jk")


def test_what_is_live_stands_with_its_address() -> None:
    status = Status(
        version="56dfc9c329af", since="2026-11-23T06:23:26+00:00", previous="0a", answering=True, address="http://127.0.0.1:3000"
    )
    assert [line for line in words(status).splitlines() if line.startswith("service") and "http://127.0.0.1:3000" in line]
    assert "no service runs" not in words(status) and "before it" in words(status)
    status.answering = False
    assert "no service runs" in words(status)


def test_the_headline_names_what_runs() -> None:
    run = Run("retrain", "great-owl", "Running", "2026-11-30T06:00:00Z")
    assert Status(version="v", runs=[run], alerts=[{}]).headline == "live: v · retrain running · 1 open alert"
