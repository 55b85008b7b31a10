"""Open alerts reach Prefect until one is claimed, the dead are told of, and nothing is lost while nobody listens."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from evergreen.config import Params, load_params
from evergreen.monitoring.loop import alerts, slot
from evergreen.monitoring.policy import DAY
from flows.running import alerting
from flows.running.prefect_api import ask
from tests.alert_factories import LIVE, holding, loop, raised, state
from tests.log_factories import sqlite
from tests.policy_factories import NOW, settings
from tests.project_factories import ROOT

PAST = NOW - 700 * DAY  # long ago by the machine's own clock, too


class Prefect(ThreadingHTTPServer):
    """What is told to Prefect's server, kept; `refuses` answers 503 instead."""

    def __init__(self) -> None:
        self.told: list[tuple[str, object, str | None]] = []
        self.refuses, self.cancelled = False, False
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/api"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        assert isinstance(self.server, Prefect)
        if not self.server.refuses and not self.path.endswith("/filter"):
            self.server.told.append((self.path, body, self.headers.get("authorization")))
        found = self.path.endswith("/filter")
        self.send_response(503 if self.server.refuses else 200 if found else 204)
        self.end_headers()
        if found:
            self.wfile.write(json.dumps([{"state_type": "CANCELLED" if self.server.cancelled else "RUNNING"}]).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def prefect() -> Iterator[Prefect]:
    with Prefect() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def params() -> Params:
    return load_params(ROOT / "params.yaml")


def test_an_open_alert_is_sent_with_its_facts_and_told_of_once(tmp_path: Path, prefect: Prefect, params: Params) -> None:
    said: list[str] = []
    with loop(sqlite(tmp_path)) as engine:
        alert = raised(engine, now=None, facts={"number": 3}, because="drift in two windows")
        for _ in range(3):
            alerting.attend(engine, prefect.api, params, say=said.append)
    [(path, [event], _)] = prefect.told
    assert path == "/api/events" and event["event"] == "evergreen.retrain.wanted"
    assert event["payload"]["alert"] == alert.id and event["payload"]["facts"] == {"number": 3}
    assert [words for words in said if "a retraining is wanted (drift): drift in two windows" in words] == [said[-1]]


def test_an_alert_that_could_not_be_sent_stays_open(tmp_path: Path, prefect: Prefect, params: Params) -> None:
    said: list[str] = []
    prefect.refuses = True
    with loop(sqlite(tmp_path)) as engine:
        alert = raised(engine, now=None)
        alerting.attend(engine, None, params, say=said.append)
        assert said == []
        alerting.attend(engine, prefect.api, params, say=said.append)
        assert "could not be sent" in said[0] and "503" in said[0]
        assert state(engine, alert) == "open" and alerts.due(engine, now=alert.raised + 120) is not None


def test_people_are_told_of_an_alert_once_it_was_sent_although_the_first_try_failed(
    tmp_path: Path, prefect: Prefect, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "RESEND_SECONDS", 0.0)
    said: list[str] = []
    prefect.refuses = True
    with loop(sqlite(tmp_path)) as engine:
        raised(engine, now=None)
        alerting.attend(engine, prefect.api, params, say=said.append)
        assert not any("is wanted" in words for words in said)
        prefect.refuses = False
        for _ in range(3):
            alerting.attend(engine, prefect.api, params, say=said.append)
    assert len(prefect.told) == 3 and sum("a retraining is wanted" in words for words in said) == 1


def test_a_death_that_a_claim_found_is_told_and_marked_too(tmp_path: Path, prefect: Prefect, params: Params) -> None:
    said: list[str] = []
    with loop(sqlite(tmp_path)) as engine:
        alert = raised(engine, now=PAST)
        holding(engine, alert, now=PAST, holder=alerting.holder("0193-run"))
        holding(engine, alert, now=PAST + 1000, holder="h2", settings=settings(lease_seconds=1e9))
        for _ in range(2):
            alerting.attend(engine, prefect.api, params, say=said.append)
    assert [path for path, *_ in prefect.told] == ["/api/flow_runs/0193-run/set_state"]
    assert len(said) == 1 and "has crashed: no sign of life" in said[0]


def test_an_alert_given_up_by_failures_is_told_of_once(tmp_path: Path, params: Params) -> None:
    said: list[str] = []
    with loop(sqlite(tmp_path)) as engine:
        alert = raised(engine, now=PAST)
        for _ in range(alerts.MAX_TRIES):
            slot.finish(engine, holding(engine, alert, now=PAST, force=True), "failed", now=PAST)
        for _ in range(2):
            alerting.attend(engine, None, params, say=said.append)
    assert len(said) == 1 and f"alert {alert.id} is given up" in said[0]


def test_the_dead_are_marked_as_crashed_and_their_alert_is_sent_again(tmp_path: Path, prefect: Prefect, params: Params) -> None:
    said: list[str] = []
    with loop(sqlite(tmp_path)) as engine:
        alert = raised(engine, now=PAST)
        holding(engine, alert, now=PAST, holder=alerting.holder("0193-run"))
        alerting.attend(engine, prefect.api, params, say=said.append)
    assert [path for path, *_ in prefect.told] == ["/api/flow_runs/0193-run/set_state", "/api/events"]
    assert prefect.told[0][1]["state"]["type"] == "CRASHED" and "no sign of life" in prefect.told[0][1]["state"]["message"]
    assert "has crashed" in said[0] and "its alert is open again" in said[0]


def test_a_run_that_was_cancelled_and_killed_at_once_is_no_crash_and_its_alert_is_closed(
    tmp_path: Path, prefect: Prefect, params: Params
) -> None:
    said: list[str] = []
    prefect.cancelled = True
    with loop(sqlite(tmp_path)) as engine:
        alert = raised(engine, now=PAST)
        holding(engine, alert, now=PAST, holder=alerting.holder("0193-run"))
        for _ in range(2):
            alerting.attend(engine, prefect.api, params, say=said.append)
        found = alerts.find(engine, alert.id)
        assert found is not None and (found.state, found.closing) == ("closed", "a person cancelled its run in Prefect")
    assert prefect.told == [] and len(said) == 1


def test_an_alert_given_up_is_told_of(tmp_path: Path, prefect: Prefect, params: Params) -> None:
    said: list[str] = []
    with loop(sqlite(tmp_path)) as engine:
        alert = raised(engine, now=PAST)
        for _ in range(alerts.MAX_TRIES - 1):
            slot.finish(engine, holding(engine, alert, now=PAST, force=True), "crashed", now=PAST)
        holding(engine, alert, now=PAST, force=True)
        alerting.attend(engine, None, params, say=said.append)
        assert state(engine, alert) == "given up"
    assert len(said) == 1 and "is not tried again" in said[0]


def test_a_run_finds_the_alert_that_it_is_for(tmp_path: Path) -> None:
    with loop(sqlite(tmp_path)) as engine:
        known = raised(engine)
        assert alerting.wanted(engine, payload={"alert": known.id}, event="e1").id == known.id
        outside = alerting.wanted(engine, payload={"because": "tickets pile up", "model_version": LIVE}, event="e2")
        assert (outside.source, outside.trigger, outside.because, outside.model_version) == ("event", "event", "tickets pile up", LIVE)
        assert alerting.wanted(engine, payload={"because": "tickets pile up", "model_version": LIVE}, event="e2").told == 2
        due = alerting.wanted(engine, schedule="2026-11-23T06:00:00Z")
        assert (due.source, alerting.wanted(engine, schedule="2026-11-23T06:00:00Z").id) == ("schedule", due.id)
        by_hand = [alerting.wanted(engine, person="Ada: new product line") for _ in range(2)]
        assert by_hand[0].id != by_hand[1].id and by_hand[0].because == "Ada: new product line"


def test_prefects_own_credentials_are_used(prefect: Prefect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "admin:pass")
    ask(prefect.api, "events", [])
    monkeypatch.setenv("PREFECT_API_KEY", "k1")
    ask(prefect.api, "events", [])
    assert [header for *_, header in prefect.told] == ["Basic YWRtaW46cGFzcw==", "Bearer k1"]


def test_the_claim_of_a_run_names_its_flow_run(tmp_path: Path) -> None:
    with loop(sqlite(tmp_path)) as engine:
        claim = holding(engine, raised(engine), holder=alerting.holder("0193-run"))
        assert isinstance(claim, slot.Claim) and claim.holder.endswith(":0193-run")
