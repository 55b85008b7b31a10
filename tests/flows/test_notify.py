"""People are told by the log and by their addresses, no address is ever repeated, and telling fails no run."""

import html
import json
import re
import socket
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from evergreen.sections.loop import Notify
from flows.notify import ADDRESSES, notify
from tests.certificates import certificate
from tests.smtp_server import mail_server

# A library of Apprise's imports it; for Python 3.13, which has it no more, Apprise brings its own.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
ALL = Notify(events=["alert", "verdict", "release", "failure"])


WORDS = "promotion by Zoë: better by 0.08 (<0.1) & <b>more</b>\n.and a second line"


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


@pytest.fixture
def staying_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let mail go to this machine alone: neither a connection nor a question for a name leaves it."""
    connect = socket.create_connection

    def near(address: tuple[str, int], *given: Any, **told: Any) -> socket.socket:
        assert address[0] == "127.0.0.1"
        return connect(address, *given, **told)

    monkeypatch.setattr(socket, "create_connection", near)
    monkeypatch.setattr(socket, "getfqdn", lambda *_: "localhost")  # by which a caller says who it is


def _shown(mail: EmailMessage) -> list[str]:
    """Return the lines that a mail program shows: of HTML, where there is some."""
    body = mail.get_body()
    assert body is not None
    content = body.get_content()
    if body.get_content_type() == "text/html":
        content = re.sub("<br ?/?>", "\n", re.sub(r"\s+", " ", content))
        content = html.unescape(re.sub("<[^>]*>", "", content)).replace("\xa0", " ")
    return [line.strip() for line in content.strip().splitlines()]


@pytest.mark.usefixtures("staying_here")
def test_an_email_arrives_with_what_the_log_says(monkeypatch: pytest.MonkeyPatch) -> None:
    with mail_server() as server:
        monkeypatch.setenv(ADDRESSES, f"mailto://127.0.0.1:{server.port}?from=evergreen@example.org&to=team@example.org,boss@example.org")
        said: list[str] = []
        notify(ALL, "release", "v1.2.0 is live", WORDS, say=said.append)
    assert said == [f"v1.2.0 is live: {WORDS}"]
    assert sorted(to for to, _ in server.mail) == [["boss@example.org"], ["team@example.org"]]
    for to, mail in server.mail:
        assert (mail["subject"], mail["from"], mail["to"]) == ("Evergreen: v1.2.0 is live", "evergreen@example.org", *to)
        assert _shown(mail) == WORDS.split("\n")


@pytest.mark.usefixtures("staying_here")
def test_an_email_goes_over_tls_with_a_login_and_only_where_the_certificate_is_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mail_server(made := certificate(tmp_path)) as server:
        monkeypatch.setenv(ADDRESSES, f"mailtos://user:hunter2@127.0.0.1:{server.port}?from=evergreen@example.org&to=team@example.org")
        said: list[str] = []
        notify(ALL, "failure", "retraining failed", "words", say=said.append)
        assert said[1:] == ["address 1 of EVERGREEN_NOTIFY has not taken the notification (failure); `apprise` with that address says why"]
        assert (server.logins, server.mail) == ([], [])
        monkeypatch.setenv("SSL_CERT_FILE", str(made[0]))  # as if it were one that the machine trusts
        notify(ALL, "failure", "retraining failed", "words", say=said.append)
        assert len(said) == 3
    assert server.logins == [("user", "hunter2")]
    ((to, mail),) = server.mail
    assert (to, mail["subject"]) == (["team@example.org"], "Evergreen: retraining failed")


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
