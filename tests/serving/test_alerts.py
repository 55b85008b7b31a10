"""Whoever may alert puts alerts on record, as Alertmanager tells them or in plain words; nothing else comes of it here."""

import json
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from evergreen.access import KeyFile
from evergreen.monitoring.loop import alerts
from evergreen.monitoring.loop.bell import Bell, Rung
from serving.api.alerts import MOST_CHARACTERS
from tests.alert_factories import loop
from tests.log_factories import sqlite
from tests.serving_factories import Service, service

FIRING = {
    "status": "firing",
    "labels": {"alertname": "TicketsReopened", "model_version": "v1", "team": "card"},
    "annotations": {"summary": "a fifth of the tickets come back", "runbook": "r"},
    "startsAt": "2026-11-01T08:00:00Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "http://prometheus/graph",
    "fingerprint": "c0ffee",
}
# What Alertmanager 0.27 sends, as its documentation lists it.
WEBHOOK = {
    "version": "4",
    "groupKey": "{}:{alertname='TicketsReopened'}",
    "truncatedAlerts": 0,
    "status": "firing",
    "receiver": "evergreen",
    "groupLabels": {"alertname": "TicketsReopened"},
    "commonLabels": {"team": "card"},
    "commonAnnotations": {},
    "externalURL": "http://alertmanager",
    "alerts": [FIRING, {**FIRING, "status": "resolved", "fingerprint": "beef"}],
}
PLAIN = {"key": "INC-4711", "because": "a new product line went on sale", "time": "2026-11-01T08:00:00+00:00"}
AT = 1793520000.0


@pytest.fixture
def made(tmp_path: Path) -> Service:
    return service(tmp_path / "keys.json")


@pytest.fixture
def caller(made: Service) -> TestClient:
    return TestClient(made.app, base_url="http://127.0.0.1:3000", client=("127.0.0.1", 50_000))


def test_alertmanagers_body_is_taken_and_what_is_resolved_is_not(made: Service, caller: TestClient) -> None:
    answer = caller.post("/alerts", json=WEBHOOK)
    assert answer.json() == {"alerts": [{"id": f"c0ffee {AT}", "new": True, "state": "open"}]}
    labels = {"labels": {"alertname": "TicketsReopened", "model_version": "v1", "team": "card"}}
    assert made.bell.rung == [Rung(f"c0ffee {AT}", "TicketsReopened", "a fifth of the tickets come back", "v1", AT, labels, lasting=True)]
    assert caller.post("/alerts", json=WEBHOOK).json()["alerts"][0]["new"] is False


def test_plain_words_will_do(made: Service, caller: TestClient) -> None:
    assert caller.post("/alerts", json=PLAIN).status_code == 200
    assert made.bell.rung == [Rung("INC-4711", "told", "a new product line went on sale", None, AT)]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"key": "k"},
        {"because": "words"},
        {**PLAIN, "alerts": [FIRING]},
        {"alerts": [{**FIRING, "fingerprint": ""}]},
        {"alerts": [{**FIRING, "labels": {"a": 1}}]},
        *({"alerts": [{**FIRING, "startsAt": moment}]} for moment in ("yesterday", "0", 0, "2026-11-01", "2026-11-01T08:00:00")),
        {"alerts": [FIRING] * 101},
        {**PLAIN, "time": "2026-11-01T08:00:00"},
        [WEBHOOK],
    ],
)
def test_what_is_no_alert_is_refused_and_never_repeated(made: Service, caller: TestClient, body: object) -> None:
    answer = caller.post("/alerts", json=body)
    assert answer.status_code == 400 and made.bell.rung == []
    assert "TicketsReopened" not in answer.text and "yesterday" not in answer.text


def test_an_alert_that_is_not_on_record_is_to_be_sent_again(made: Service, caller: TestClient) -> None:
    made.bell.silent = True
    answer = caller.post("/alerts", json=PLAIN)
    assert answer.status_code == 503 and answer.headers["retry-after"] == "1" and "send it again" in answer.text
    assert caller.post("/alerts", json={"alerts": [{**FIRING, "status": "resolved"}]}).json() == {"alerts": []}


def test_personal_data_and_long_words_are_not_kept(made: Service, caller: TestClient) -> None:
    secret = {**FIRING, "labels": {"alertname": "ada@example.org"}, "annotations": {"summary": "call +44 20 7946 0958 " + "x" * 2000}}
    caller.post("/alerts", json={"alerts": [secret]})
    [rung] = made.bell.rung
    assert rung.trigger == "[EMAIL]" and rung.facts == {"labels": {"alertname": "[EMAIL]"}}
    assert "[PHONE]" in rung.because and len(rung.because) <= MOST_CHARACTERS


def test_a_model_version_is_bounded_and_masked_and_a_real_one_is_left_alone(made: Service, caller: TestClient) -> None:
    for version in ("ada@example.org " + "x" * 400_000, "442079460958"):
        body = {"alerts": [{**FIRING, "labels": {"alertname": "a", "model_version": version}}]}
        assert caller.post("/alerts", json=body).status_code == 200
    [long, real] = made.bell.rung
    assert long.model_version is not None and long.model_version.startswith("[EMAIL] ") and len(long.model_version) <= MOST_CHARACTERS
    assert real.model_version == "442079460958"


def test_only_a_key_made_for_it_may_alert(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    (_, usual), (_, alerting) = KeyFile(keys).create("shop"), KeyFile(keys).create("alertmanager", ("alert",))
    caller = TestClient(service(keys).app, base_url="http://127.0.0.1:3000", client=("127.0.0.1", 50_000))

    def status(key: str, path: str, body: object) -> int:
        return caller.post(path, json=body, headers={"authorization": f"Bearer {key}"}).status_code

    assert status(usual, "/alerts", PLAIN) == 403 and status(alerting, "/alerts", PLAIN) == 200
    assert status(alerting, "/predict", {"text": "card"}) == 403


def test_the_bell_puts_alerts_on_record_once(tmp_path: Path) -> None:
    bell = Bell(sqlite(tmp_path))
    try:
        told = [Rung("k1", "t", "words", "v1", AT, {"labels": {"a": "\ud800"}}), Rung("k2", "t", "words")]
        first = bell.ring(told)
        assert first is not None and [new for _, new in first] == [True, True]
        again = bell.ring(told)
        assert again is not None and [new for _, new in again] == [False, False]
    finally:
        bell.close()
    with loop(sqlite(tmp_path)) as engine:
        assert {(alert.source, alert.model_version, alert.told) for alert in alerts.listed(engine)} == {
            ("http", "v1", 2),
            ("http", None, 2),
        }
        assert json.dumps([alert.facts for alert in alerts.listed(engine)])


def test_a_bell_without_a_database_says_so_and_repeats_no_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "traffic.sqlite").mkdir()
    bell = Bell(sqlite(tmp_path))
    assert bell.ring([Rung("k", "t", "secret words")]) is None
    bell.close()
    assert "could not be put on record" in caplog.text and "secret words" not in caplog.text
