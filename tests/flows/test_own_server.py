"""A server for one command: in place of Prefect's stands an application that only says that it is well."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from evergreen.errors import PipelineError
from flows.running import connection, own_server
from flows.running.components import Component

WELL = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            asked = await receive()
            await send({"type": asked["type"] + ".complete"})
            if asked["type"] == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 200 if scope["path"] == "/api/health" else 404, "headers": []})
    await send({"type": "http.response.body", "body": b"true"})

def make():
    return app
"""


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Component]]:
    """The servers that were started; ended at the end, as the interpreter would."""
    servers: list[Component] = []
    (tmp_path / "stand_in.py").write_text(WELL)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PREFECT_API_URL", "to be restored")
    monkeypatch.delenv("PREFECT_API_URL")
    monkeypatch.setattr(own_server, "LOGS", tmp_path / "logs")
    monkeypatch.setattr(connection, "LOCK", tmp_path / "up.lock")
    monkeypatch.setattr(connection, "TURN", tmp_path / "server.lock")
    monkeypatch.setattr(own_server.atexit, "register", lambda end, server: servers.append(server))
    yield servers
    for server in servers:
        own_server._end(server)


def test_a_server_comes_up_for_the_command_and_leaves_nothing(
    started: list[Component], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_server, "APPLICATION", "stand_in:make")
    ready = own_server.begin(tmp_path)
    ready()
    assert connection.healthy(os.environ["PREFECT_API_URL"])
    own_server._end(started[0])
    assert not started[0].alive and not connection.healthy(os.environ["PREFECT_API_URL"])
    assert list((tmp_path / "logs").iterdir()) == []


def test_one_that_does_not_come_up_is_quoted(started: list[Component], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_server, "APPLICATION", "not_there:make")
    ready = own_server.begin(tmp_path)
    with pytest.raises(PipelineError, match=r"(?s)did not come up; the end of its log .*not_there"):
        ready()


def test_a_server_that_is_there_is_used(started: list[Component], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_server, "APPLICATION", "stand_in:make")
    own_server.begin(tmp_path)()
    there = os.environ["PREFECT_API_URL"]
    own_server.begin(tmp_path)()
    assert len(started) == 1 and os.environ["PREFECT_API_URL"] == there


def test_a_second_starts_only_once_the_first_answers(started: list[Component], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_server, "APPLICATION", "stand_in:make")
    ready = own_server.begin(tmp_path)
    first = os.environ.pop("PREFECT_API_URL")
    second_started: list[bool] = []

    def first_goes_on(_: float) -> None:
        if not second_started:
            second_started.append(started[-1].alive and len(started) == 2)
            monkeypatch.setenv("PREFECT_API_URL", first)
            ready()
            monkeypatch.delenv("PREFECT_API_URL")

    monkeypatch.setattr(own_server.time, "sleep", first_goes_on)
    own_server.begin(tmp_path)()
    assert second_started == [False] and [server.alive for server in started] == [True, True]


def test_one_that_is_named_and_silent_is_told_by_its_address(
    started: list[Component], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    with pytest.raises(PipelineError, match=r"no Prefect server answers on http://127\.0\.0\.1:1/api; PREFECT_API_URL names it"):
        own_server.begin(tmp_path)
    assert started == []


def test_one_that_is_coming_up_is_waited_for(
    started: list[Component], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(connection, "RECORD", tmp_path / "up.json")
    monkeypatch.setattr(connection, "reachable", lambda api: api == "http://127.0.0.1:2/api")
    with connection.LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        monkeypatch.setattr(own_server.time, "sleep", lambda _: connection.Up(1, "http://127.0.0.1:2/api").write())
        own_server.begin(tmp_path)()
    assert started == [] and os.environ["PREFECT_API_URL"] == "http://127.0.0.1:2/api"
    assert capsys.readouterr().err.count("is coming up") == 1
