"""The API: what each route does for callers who mean well."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from evergreen.monitoring.log.recorder import Recorder
from serving.model.backend import NotReady, UnusableText
from tests.serving_factories import FakeModels, Service, challenged, service


def client(made: Service) -> TestClient:
    """Return a caller on the service's own machine."""
    return TestClient(made.app, base_url="http://127.0.0.1:3000", client=("127.0.0.1", 50_000), raise_server_exceptions=False)


@pytest.fixture
def made(tmp_path: Path) -> Service:
    return service(tmp_path / "keys.json", pages={"/card": PlainTextResponse("a card")})


@pytest.fixture
def caller(made: Service) -> TestClient:
    return client(made)


def test_texts_are_answered_in_their_order_and_each_answer_is_on_record(made: Service, caller: TestClient) -> None:
    got = caller.post("/predict", json={"texts": ["fraud please", "hello"], "groups": {"age_band": "60+"}})
    sure, unsure = got.json()["predictions"]
    assert (got.status_code, sure["label"], sure["needs_person"], unsure["needs_person"]) == (200, "fraud", False, True)
    assert sure["confidence"] == sure["probabilities"]["fraud"]
    assert [(row.request_id, row.text, row.role, row.groups) for row in made.recorder.rows] == [
        (sure["request_id"], "fraud please", "champion", {"age_band": "60+"}),
        (unsure["request_id"], "hello", "champion", {"age_band": "60+"}),
    ]


def test_personal_data_is_masked_in_texts_and_groups_before_it_is_kept(made: Service, caller: TestClient) -> None:
    caller.post("/predict", json={"text": "card of jo@bank.example", "groups": {"who": "call 07700 900118", "mail": "jo@bank.example"}})
    (row,) = made.recorder.rows
    assert row.text == "card of [EMAIL]"
    assert row.groups == {"who": "call [PHONE]", "mail": "[EMAIL]"}


def test_feedback_is_idempotent_and_a_later_label_corrects(made: Service, caller: TestClient) -> None:
    told = {"request_id": caller.post("/predict", json={"text": "card"}).json()["predictions"][0]["request_id"], "label": "fraud"}
    assert caller.post("/feedback", json=told).json() == {**told, "status": "recorded"}
    assert caller.post("/feedback", json=told).json()["status"] == "already recorded"
    assert caller.post("/feedback", json={**told, "label": "card"}).json()["status"] == "corrected"
    assert [row.label for row in made.recorder.labels] == ["fraud", "fraud", "card"]


def test_feedback_on_an_unknown_answer_or_with_an_unknown_label_is_told_so(caller: TestClient) -> None:
    known = caller.post("/predict", json={"text": "card"}).json()["predictions"][0]["request_id"]
    assert caller.post("/feedback", json={"request_id": "0" * 32, "label": "card"}).status_code == 404
    refused = caller.post("/feedback", json={"request_id": known, "label": "my secret"})
    assert (refused.status_code, refused.json()["detail"][0]["where"]) == (400, "label")
    assert "access, card, fraud, savings" in refused.json()["error"]
    assert "secret" not in refused.text


def test_feedback_is_taken_on_trust_while_nobody_can_say_and_never_lost_in_silence(
    made: Service, caller: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"request_id": "0" * 32, "label": "card"}
    monkeypatch.setattr(made.recorder, "knows", lambda request_id: None)
    assert caller.post("/feedback", json=told).json()["status"] == "recorded"
    monkeypatch.setattr(made.recorder, "labelled", lambda row: None)
    refused = caller.post("/feedback", json=told)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")


def test_a_text_that_cleaning_empties_is_refused_by_its_place(caller: TestClient) -> None:
    refused = caller.post("/predict", json={"texts": ["card", "\u200b"]})
    assert refused.status_code == 400
    assert "at place 1" in refused.json()["error"]


def test_unknown_paths_and_methods_are_told_what_there_is(caller: TestClient) -> None:
    assert "/predict" in caller.get("/nothing").json()["error"]
    wrong = caller.get("/predict")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert caller.post("/livez").headers["allow"] == caller.options("/metrics").headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/card"])
def test_head_answers_as_get_does_without_a_body(caller: TestClient, path: str) -> None:
    got, head = caller.get(path), caller.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == got.headers["content-type"]


@pytest.mark.parametrize(("method", "path"), [("GET", "/livez"), ("GET", "/card"), ("GET", "/nothing"), ("POST", "/predict")])
def test_every_answer_carries_the_security_headers(caller: TestClient, method: str, path: str) -> None:
    headers = caller.request(method, path).headers
    assert (headers["x-content-type-options"], headers["referrer-policy"], headers["cache-control"]) == (
        "nosniff",
        "no-referrer",
        "no-store",
    )
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "strict-transport-security" not in headers


def test_strict_transport_security_is_asked_for_under_tls_alone(made: Service) -> None:
    secure = TestClient(made.app, base_url="https://127.0.0.1:3000", client=("127.0.0.1", 50_000))
    assert "max-age" in secure.get("/livez").headers["strict-transport-security"]


def test_the_service_is_ready_while_a_champion_can_answer(made: Service, caller: TestClient) -> None:
    assert caller.get("/readyz").json() == {"status": "ready", "model_version": "v1", "degraded": []}
    made.models.champion_model.ready = False
    assert (caller.get("/readyz").status_code, caller.get("/livez").status_code) == (503, 200)
    assert caller.post("/predict", json={"text": "card"}).headers["retry-after"] == "1"


def test_a_champion_whose_processes_are_all_gone_is_not_ready(made: Service, caller: TestClient) -> None:
    for connected, status in ((1, 200), (0, 503), (1, 200)):
        made.models.champion_model.connected = connected
        assert caller.get("/readyz").status_code == status


def test_a_lost_database_or_lost_rows_are_told_and_the_service_stays_ready(made: Service, caller: TestClient) -> None:
    made.recorder.fares.database_up, made.recorder.fares.dropped, made.recorder.fares.pending = False, 3, 7
    told = caller.get("/readyz")
    assert told.status_code == 200
    assert told.json()["degraded"] == ["3 rows of the request log are lost", "the request log's database is away; 7 rows wait for it"]


def test_while_draining_nobody_is_sent_here_and_everybody_is_answered(made: Service, caller: TestClient) -> None:
    made.health.draining = True
    assert caller.get("/readyz").json()["status"] == "draining"
    assert caller.post("/predict", json={"text": "card"}).status_code == 200


def test_an_unforeseen_error_is_logged_by_its_place_and_without_its_words(
    made: Service, caller: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    made.models.champion_model.broken = KeyError("my secret text")
    got = caller.post("/predict", json={"text": "card"})
    assert (got.status_code, got.headers["content-type"]) == (500, "application/json")
    assert "KeyError at " in caplog.text and "serving_factories.py" in caplog.text
    assert "secret" not in caplog.text + got.text
    assert made.admission.texts == 0


def test_an_overloaded_service_says_when_to_come_back(tmp_path: Path) -> None:
    made = service(tmp_path / "keys.json", queue=2)
    with made.admission.claim(2):
        refused = client(made).post("/predict", json={"text": "card"})
        assert client(made).get("/readyz").status_code == 200
    assert (refused.status_code, "connection" in refused.headers) == (429, False)
    assert int(refused.headers["retry-after"]) >= 1
    assert client(made).post("/predict", json={"text": "card"}).status_code == 200


def test_a_caller_beyond_its_rate_is_told_when_to_come_back(tmp_path: Path) -> None:
    caller = client(service(tmp_path / "keys.json", per_second=0.5, burst=2))
    assert [caller.post("/predict", json={"text": "card"}).status_code for _ in range(3)] == [200, 200, 429]
    refused = caller.post("/predict", json={"text": "card"})
    assert int(refused.headers["retry-after"]) in (1, 2)
    assert caller.get("/livez").status_code == 200


def test_identical_texts_are_judged_once_where_a_cache_is_asked_for(tmp_path: Path) -> None:
    made = service(tmp_path / "keys.json", cache=2)
    first, again = (client(made).post("/predict", json={"texts": ["card", "hello"]}).json()["predictions"] for _ in range(2))
    assert made.models.champion_model.asked == ["card", "hello"]
    assert [one["label"] for one in first] == [one["label"] for one in again]
    assert len({one["request_id"] for one in first + again}) == 4
    assert len(made.recorder.rows) == 4


def test_the_cache_keeps_the_places_of_unusable_texts(tmp_path: Path) -> None:
    made = service(tmp_path / "keys.json", cache=5)
    client(made).post("/predict", json={"text": "card"})
    assert "at place 1 " in client(made).post("/predict", json={"texts": ["card", "\u200b"]}).json()["error"]


def test_a_shadow_sees_the_same_texts_and_no_caller_sees_the_shadow(tmp_path: Path) -> None:
    made = service(tmp_path / "keys.json", models=challenged("shadow"))
    with client(made) as caller:
        (answer,) = caller.post("/predict", json={"text": "card"}).json()["predictions"]
        caller.portal.call(made.desk.close)
    assert answer["model_version"] == "v1"
    assert [(row.role, row.model_version, row.request_id) for row in made.recorder.rows] == [
        ("champion", "v1", answer["request_id"]),
        ("shadow", "v2", answer["request_id"]),
    ]
    assert made.metrics.named("shadow") == [["v2", True]]


def test_a_shadow_that_fails_costs_nobody_an_answer_and_is_counted(tmp_path: Path) -> None:
    models = challenged("shadow")
    models.challenger.model.broken = RuntimeError("my secret")
    made = service(tmp_path / "keys.json", models=models)
    with client(made) as caller:
        assert caller.post("/predict", json={"text": "card"}).status_code == 200
        caller.portal.call(made.desk.close)
    assert made.metrics.named("shadow_lost") == [["v2", 1, "failed"]]
    assert [row.role for row in made.recorder.rows] == ["champion"]


def test_a_canary_answers_its_share_and_a_canary_that_is_not_ready_nobody(tmp_path: Path) -> None:
    models = challenged("canary", share=1.0)
    made = service(tmp_path / "keys.json", models=models)
    ask = lambda: client(made).post("/predict", json={"text": "card"}).json()["predictions"][0]["model_version"]  # noqa: E731
    assert ask() == "v2"
    models.challenger.model.broken = NotReady("died")
    assert ask() == "v1"
    models.challenger.model.ready = False
    assert ask() == "v1"
    assert [row.role for row in made.recorder.rows] == ["canary", "champion", "champion"]


@pytest.mark.parametrize("fault", ["hangs", "fails", "refuses", "gives no probabilities"])
def test_a_canary_that_is_sick_costs_nobody_an_answer_and_is_counted(tmp_path: Path, fault: str) -> None:
    models = challenged("canary", share=1.0)
    sick = models.challenger.model
    if fault == "hangs":
        sick.wait = asyncio.Event().wait
    elif fault == "gives no probabilities":
        sick._probabilities = lambda text: (float("nan"),) * 4
    else:
        sick.broken = RuntimeError("my secret") if fault == "fails" else UnusableText([0])
    made = service(tmp_path / "keys.json", models=models)
    made.desk.canary_seconds = 0.05
    got = client(made).post("/predict", json={"text": "card"})
    assert (got.status_code, got.json()["predictions"][0]["model_version"]) == (200, "v1")
    assert [row.role for row in made.recorder.rows] == ["champion"]
    assert ["challenger", "deadline" if fault == "hangs" else "error"] in made.metrics.named("failed")


def test_without_a_challenger_share_the_champion_answers(tmp_path: Path) -> None:
    made = service(tmp_path / "keys.json", models=challenged("canary", share=0.0))
    assert client(made).post("/predict", json={"text": "card"}).json()["predictions"][0]["model_version"] == "v1"


def test_a_model_that_gives_no_probabilities_is_an_error_not_an_answer(tmp_path: Path) -> None:
    models = FakeModels()
    models.champion_model._probabilities = lambda text: (float("nan"),) * 4
    made = service(tmp_path / "keys.json", models=models)
    assert client(made).post("/predict", json={"text": "card"}).status_code == 500
    assert made.recorder.rows == []


def test_answers_and_labels_reach_the_database(tmp_path: Path) -> None:
    recorder = Recorder(f"sqlite:///{tmp_path / 'log.db'}", tmp_path / "spool", keep_days=1, keep_megabytes=10, spool_megabytes=10)
    made = service(tmp_path / "keys.json")
    made.desk.recorder = recorder
    recorder.start()
    answer = client(made).post("/predict", json={"text": "card", "groups": {"age_band": "60+"}}).json()["predictions"][0]
    told = client(made).post("/feedback", json={"request_id": answer["request_id"], "label": "fraud"})
    recorder.close()
    assert told.json()["status"] == "recorded"
    with sqlite3.connect(tmp_path / "log.db") as database:
        assert database.execute("select request_id, role, prediction from answers").fetchall() == [
            (answer["request_id"], "champion", "card")
        ]
        assert database.execute("select request_id, label from feedback").fetchall() == [(answer["request_id"], "fraud")]
    database.close()
