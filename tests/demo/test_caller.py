"""The customer who asks while the version changes: what is counted is what happened."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from demo.caller import Caller
from demo.customers import Message, Sent
from demo.project import Project
from demo.show import Screen
from demo.story import Story

MESSAGES = [Message(str(number), date(2025, 9, 1), f"message {number}", "card", {"channel": "app"}) for number in range(2)]
CUT = "cut"  # the connection ends without an answer


@contextmanager
def service(*script: str | int) -> Iterator[tuple[str, list[Any]]]:
    """Answer as scripted, by a version, with a status or not at all, and by the last one for ever; give address and what was asked."""
    asked: list[Any] = []

    class Scripted(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            step = script[min(len(asked), len(script)) - 1]
            if step == CUT:
                return
            self.send_response(step if isinstance(step, int) else 200)
            self.end_headers()
            self.wfile.write(json.dumps({"predictions": [{"model_version": step}]}).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Scripted) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def wait_for(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_each_request_is_asked_once_and_counted_by_who_answered_or_why_nobody_did() -> None:
    with service("old", "old", 503, CUT, "new") as (address, asked), Caller(address, MESSAGES, every=0.01) as caller:
        wait_for(lambda: caller.last == "new")
    assert caller.versions["old"] == 2
    assert caller.failures == {"status 503": 1, "Remote end closed connection without response": 1}
    assert len(asked) == caller.versions.total() + 2
    assert [body["text"] for body in asked[:3]] == ["message 0", "message 1", "message 0"]
    new = caller.versions["new"]
    assert caller.words() == (
        f"{new + 4} requests of a customer meanwhile: {new + 2} answered, 2 by old, {new} by new; "
        "2 failed (1 x status 503, 1 x Remote end closed connection without response)"
    )


def test_a_service_that_is_gone_is_no_answer() -> None:
    with service("old") as (address, _):
        pass
    with Caller(address, MESSAGES, every=0.01) as caller:
        wait_for(lambda: caller.failures.total() > 1)
    assert caller.words().startswith(
        f"{caller.failures.total()} requests of a customer meanwhile: 0 answered; {caller.failures.total()} failed ("
    )


def test_it_asks_no_more_when_its_block_is_over() -> None:
    with service("old") as (address, asked):
        with Caller(address, MESSAGES, every=0.01) as caller:
            wait_for(lambda: caller.last == "old")
        before = len(asked)
        assert caller.ended is not None
        time.sleep(0.1)
        assert len(asked) == before


@pytest.mark.parametrize(("verdict", "answers"), [("Promote", ("old", "old", "new")), ("Hold", ("old",)), ("Reject", ("old",))])
def test_the_story_tells_the_true_count_and_keeps_that_customer_out_of_the_next_window(
    verdict: str, answers: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    story = Story(Project(tmp_path / "demo", tmp_path), Screen())
    story.sent = [[Sent(message, message.id, "card", "old") for message in MESSAGES]]
    began = time.time()
    with service(*answers) as (address, _):
        monkeypatch.setattr(story, "_address", lambda: address)
        monkeypatch.setattr(story, "_watched", lambda *_: {"state_name": verdict})
        monkeypatch.setattr(story, "_live_other_than", lambda _: "new")
        monkeypatch.setattr(story.record, "candidate", lambda _: SimpleNamespace(model_version="new", commit="c"))
        assert story._retrained("run", "old") == "new"
    said = " ".join(capsys.readouterr().out.split())
    assert "requests of a customer meanwhile: " in said and "; 0 failed" in said
    assert ("model new has won against old" in said) == (verdict == "Promote")
    assert ("old stays live; a person may decide otherwise" in said) == (verdict != "Promote")
    assert story.asked_until is not None and began < story.asked_until <= time.time()

    looked: list[float | None] = []
    monkeypatch.setattr(story.project, "evergreen", lambda *_: "in shadow")
    monkeypatch.setattr(story.project, "bring", lambda *_: tmp_path)
    monkeypatch.setattr(story, "_window", lambda part, since: looked.append(since))
    story._later([MESSAGES, MESSAGES], "old")
    assert looked == [story.asked_until, None]
