"""People are told by the log and by their addresses, no address is ever repeated, and telling fails no run."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from evergreen.sections.loop import Notify
from flows.notify import ADDRESSES, notify

# A library of Apprise's imports it; for Python 3.13, which has it no more, Apprise brings its own.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
ALL = Notify(events=["alert", "verdict", "release", "failure"])


class Hook(ThreadingHTTPServer):
    def __init__(self) -> None:
        self.told: list[dict] = []
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Hook)
        self.server.told.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_webhook_is_told_what_the_log_says(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ADDRESSES, f"json://127.0.0.1:{hook.server_port}/")
    said: list[str] = []
    notify(ALL, "verdict", "PROMOTE", "v1.2.0 is better by 0.08", say=said.append)
    assert said == ["PROMOTE: v1.2.0 is better by 0.08"]
    assert [(told["title"], told["message"], told["type"]) for told in hook.told] == [
        ("Evergreen: PROMOTE", "v1.2.0 is better by 0.08", "info")
    ]


def test_kinds_that_are_not_listed_are_logged_alone(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ADDRESSES, f"json://127.0.0.1:{hook.server_port}/")
    said: list[str] = []
    notify(Notify(events=["failure"]), "alert", "drift", "words", say=said.append)
    assert said == ["drift: words"] and hook.told == []


def test_a_broken_address_hinders_no_other_and_is_not_repeated(
    hook: Hook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(ADDRESSES, f"bogus://hunter2@x json://u:hunter2@127.0.0.1:9/ json://127.0.0.1:{hook.server_port}/")
    said: list[str] = []
    notify(ALL, "failure", "retraining failed", "words", say=said.append)
    assert len(hook.told) == 1 and hook.told[0]["type"] == "failure"
    assert [words[:9] for words in said[1:]] == ["address 1", "address 2"]
    assert "hunter2" not in "".join([*said, caplog.text, *capfd.readouterr()])
