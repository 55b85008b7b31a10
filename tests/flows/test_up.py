"""`evergreen up`: everything comes up with one command, and nothing outlives it, whatever it ends by."""

import argparse
import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from evergreen.errors import PipelineError
from flows import deployments
from flows.commands import up as up_command
from flows.commands.status import Status
from flows.commands.up import Machine
from flows.running import connection, prefect_api
from flows.running.components import Component
from tests.postgresql import Server
from tests.prefect_factories import PATIENCE, ask, belonging, environment, evergreen, prefect_server, stand_in_project, until

UP = (sys.executable, "-m", "flows", "up", "--prefect-port", "0", "--port", "0", "--poll", "1")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return stand_in_project(tmp_path / "project")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@contextmanager
def up(project: Path, home: Path, **more: str) -> "Iterator[subprocess.Popen[bytes]]":
    """Run `evergreen up`; whatever a failed test leaves is ended."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "up.log").open("wb") as log:
        process = subprocess.Popen(UP, cwd=project, env=environment(home, **more), stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for left in belonging(home):
            with suppress(Exception):
                left.kill()


def said(home: Path) -> str:
    return (home / "up.log").read_text()


def status(project: Path, env: Mapping[str, str]) -> dict[str, Any]:
    done = evergreen(project, "status", "--json", env=env)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def api_of(home: Path, process: "subprocess.Popen[bytes]") -> str:
    """Wait until all is up; return the address of Prefect's API."""
    known = home / "up.json"  # one of a process that was killed may still lie there
    until(lambda: process.poll() is not None or (known.exists() and json.loads(known.read_text())["pid"] == process.pid))
    assert process.poll() is None, said(home)
    assert "deployments: monitor/monitor, retrain/retrain" in said(home)
    return str(json.loads((home / "up.json").read_text())["api"])


def start(api: str, name: str) -> None:
    [known] = [item for item in ask(api, "deployments/filter") if item["name"] == name]
    ask(api, f"deployments/{known['id']}/create_flow_run", {"state": {"type": "SCHEDULED"}})


def names(processes: list[Any]) -> list[str]:
    found = []
    for one in processes:
        with suppress(Exception):
            found.append(" ".join(one.cmdline()))
    return found


def test_a_taken_port_is_one_clear_message_and_what_a_killed_one_left_is_gone(project: Path, home: Path) -> None:
    home.mkdir()
    (home / "up.json").write_text('{"pid": 1, "api": "http://127.0.0.1:1/api"}')
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = evergreen(project, "up", "--prefect-port", str(port), env=environment(home))
    assert done.returncode == 1
    assert f"port {port} is taken" in done.stderr and "evergreen up --prefect-port 0" in done.stderr and "Traceback" not in done.stderr
    assert belonging(home) == []
    assert not (home / "up.json").exists()


def test_outside_a_project_it_says_so(tmp_path: Path, project: Path, home: Path) -> None:
    env = environment(home, PYTHONPATH=str(project))
    done = evergreen(tmp_path, "up", env=env)
    assert done.returncode == 1 and "there is no dvc.yaml in" in done.stderr


def test_a_damaged_setting_is_told_before_anything_starts(project: Path, home: Path) -> None:
    (project / "params.yaml").write_text("ingest: {}\n")
    done = evergreen(project, "up", "--prefect-port", "0", env=environment(home))
    assert done.returncode == 1
    assert "params.yaml" in done.stderr and "Traceback" not in done.stderr
    assert not (home / "logs").exists()


def test_a_server_that_runs_another_project_is_refused_and_ones_own_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up_command, "HOME", tmp_path)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    monkeypatch.setenv("EVERGREEN_PROJECT", str(tmp_path))
    theirs = prefect_api.mark_of("/their/project", tmp_path / "their home")
    moved = prefect_api.mark_of("/before/it/was/moved")  # the state says which project it is, not the folder
    there: list[dict[str, Any]] = [
        {"name": "monitor", "tags": ["evergreen", *deployments._mark()]},
        {"name": "retrain", "tags": ["evergreen", moved]},
        {"name": "retrain", "tags": ["evergreen"]},
        {"name": "something else", "tags": [theirs]},
        {"name": "monitor", "tags": []},
    ]
    monkeypatch.setattr(prefect_api, "ask", lambda *_: there)
    machine = Machine(tmp_path, argparse.Namespace(prefect_port=0, port=0, poll=1.0), Console(file=io.StringIO()))
    machine._refuse_to_share()
    there.append({"name": "retrain", "tags": ["evergreen", theirs]})
    with pytest.raises(PipelineError, match=r"runs the project .*:/their/project; .* evergreen up --prefect-port 0"):
        machine._refuse_to_share()


def test_what_cannot_be_shown_is_told_once_and_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(root: Path, api: str) -> Status:
        if looks.pop():
            raise PermissionError("not allowed")
        return Status(version="v")

    class Ending:
        def within(self, seconds: float) -> bool:
            return not looks

    looks = [True, True, False, True, True]
    monkeypatch.setattr(up_command, "HOME", tmp_path)
    monkeypatch.setattr("flows.commands.status.gather", broken)
    console = Console(file=io.StringIO())
    Machine(tmp_path, argparse.Namespace(prefect_port=0, port=0, poll=1.0), console).watch(Ending())  # type: ignore[arg-type]
    said = [line.partition("  ")[2] for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    fault = "how things stand cannot be told now: not allowed"
    assert said == [fault, "live: v", fault]


def test_its_server_waits_for_one_that_comes_up_just_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ending:
        asked = False

        def within(self, seconds: float) -> bool:
            waits.append(seconds)
            if not self.asked:
                theirs.close()
            return self.asked

    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr(connection, "TURN", tmp_path / "server.lock")
    monkeypatch.setattr(Component, "start", lambda component: started.append((component.name, len(waits))))
    monkeypatch.setattr(connection, "healthy", lambda api: True)
    monkeypatch.setattr(Component, "alive", True)
    started: list[tuple[str, int]] = []
    waits: list[float] = []
    machine = Machine(tmp_path, argparse.Namespace(prefect_port=0, port=0, poll=1.0), Console(file=io.StringIO()))
    theirs = connection.turn()
    assert theirs is not None and connection.turn() is None
    ending = Ending()
    assert machine._server_up(ending) and started == [("server", 1)]  # type: ignore[arg-type]

    theirs, ending.asked = connection.turn(), True
    assert theirs is not None, "the turn is over once the server answers"
    with theirs:
        assert not machine._server_up(ending) and len(started) == 1  # type: ignore[arg-type]


@pytest.mark.long
def test_it_comes_up_runs_what_is_asked_and_ctrl_c_ends_all_of_it(project: Path, home: Path) -> None:
    env = environment(home)
    with up(project, home) as process:
        api = api_of(home, process)
        due = until(lambda: [run for run in status(project, env)["upcoming"] if run["deployment"] == "monitor"])
        assert "T06:00:00" in due[0]["time"]
        shown = evergreen(project, "status", env=env).stdout
        assert "next" in shown and "monitor" in shown and "nothing yet" in shown
        second = evergreen(project, "up", env=env)
        assert second.returncode == 1
        assert "`evergreen up` runs already" in second.stderr and "Traceback" not in second.stderr
        start(api, "monitor")
        until((home / "ran-monitor").exists)
        assert (home / "ran-monitor").read_text().splitlines()[0] == str(project)
        until(lambda: [run for run in status(project, env)["runs"] if run["state"] == "Completed"])
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0, said(home)
        assert names(belonging(home)) == []
    assert "nothing is left running" in said(home) and "Traceback" not in said(home)
    assert not (home / "up.json").exists()
    assert "not running" in evergreen(project, "status", env=env).stdout


@pytest.mark.long
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_at_work_ends_with_it(project: Path, home: Path, end: signal.Signals) -> None:
    home.mkdir()
    (home / "linger").touch()
    with up(project, home) as process:
        start(api_of(home, process), "retrain")
        until((home / "ran-retrain").exists)
        process.send_signal(end)
        assert process.wait(PATIENCE) == (-end if end == signal.SIGKILL else 0), said(home)
        until(lambda: belonging(home) == []) if end == signal.SIGKILL else None
        assert names(belonging(home)) == []


@pytest.mark.long
def test_what_is_killed_comes_back_and_a_killed_up_leaves_nothing(project: Path, home: Path) -> None:
    with up(project, home) as process:
        api = api_of(home, process)
        [worker] = until(lambda: [one for one in belonging(home) if "worker" in " ".join(one.cmdline())])
        worker.kill()
        until(lambda: "worker ended with status -9; it is started again" in said(home))
        until(lambda: [one for one in belonging(home) if "worker" in " ".join(one.cmdline()) and one.pid != worker.pid])
        assert len(ask(api, "deployments/filter")) == 2
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        until(lambda: belonging(home) == [])
    with up(project, home) as process:  # and it comes up again over what is left
        api_of(home, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        assert names(belonging(home)) == []


@pytest.mark.long
def test_a_damaged_pointer_to_the_live_version_stops_nothing_else(project: Path, home: Path) -> None:
    (home / "serve").mkdir(parents=True)
    (home / "serve" / "live.json").write_text("{")
    with up(project, home) as process:
        api_of(home, process)
        found = status(project, environment(home))
        assert any("live.json is damaged" in note for note in found["notes"]) and found["prefect"]
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0, said(home)
    assert said(home).count("live.json is damaged") == 1


@pytest.mark.long
def test_ctrl_c_while_it_comes_up_ends_all_of_it(project: Path, home: Path) -> None:
    with up(project, home) as process:
        until(lambda: "Prefect's server comes up" in said(home) and len(belonging(home)) > 1)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0, said(home)
        assert names(belonging(home)) == []


@pytest.mark.long
def test_ctrl_c_while_deployments_are_made_ends_all_of_it(project: Path, home: Path) -> None:
    (project / "flows" / "retrain.py").write_text("import time\n\ntime.sleep(600)\n")
    with up(project, home) as process:
        until(lambda: [one for one in names(belonging(home)) if one.endswith("flows deploy")])
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0, said(home)
        assert names(belonging(home)) == []


@pytest.mark.long
def test_deployments_that_cannot_be_made_end_it_with_the_reason(project: Path, home: Path) -> None:
    (project / "flows" / "retrain.py").unlink()
    with up(project, home) as process:
        assert process.wait(PATIENCE) == 1
        assert names(belonging(home)) == []
    assert "the flow flows/retrain.py:retrain of prefect.yaml cannot be loaded" in said(home) and "Traceback" not in said(home)


@pytest.mark.long
def test_another_server_is_used_and_left_as_it_is(project: Path, home: Path, tmp_path: Path) -> None:
    with prefect_server(tmp_path / "server") as theirs, up(project, home, PREFECT_API_URL=theirs) as process:
        assert api_of(home, process) == theirs
        assert not [one for one in names(belonging(home)) if "server start" in one]
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        assert names(belonging(home)) == []
        assert len(ask(theirs, "deployments/filter")) == 2


@pytest.mark.long
def test_prefects_server_keeps_its_state_in_postgresql_by_url(project: Path, home: Path, postgresql: Server) -> None:
    url = postgresql.fresh().replace("+psycopg", "+asyncpg")
    with up(project, home, PREFECT_SERVER_DATABASE_CONNECTION_URL=url) as process:
        api = api_of(home, process)
        assert not list(home.rglob("prefect.db*"))
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0, said(home)
    with up(project, home, PREFECT_SERVER_DATABASE_CONNECTION_URL=url) as process:  # the same state, another port
        assert api_of(home, process) != api
        assert len(ask(str(json.loads((home / "up.json").read_text())["api"]), "deployments/filter")) == 2
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        assert names(belonging(home)) == []
