"""The API's description is true: of its routes, its examples, its limits and its refusals."""

import html
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from starlette.testclient import TestClient

from evergreen.access import KeyFile
from serving.pages.about import openapi
from serving.pages.facts import facts_of
from tests.live_factories import live_service
from tests.release_factories import bento_folder
from tests.serving_factories import Service

FILES = {"/page.css", "/page.js"}


@pytest.fixture(scope="module")
def bento(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bento_folder(tmp_path_factory.mktemp("bento") / "tiny")


@pytest.fixture
def made(bento: Path, tmp_path: Path) -> Service:
    return live_service(bento, tmp_path / "keys.json", queue=20)


@pytest.fixture
def caller(made: Service) -> TestClient:
    return local(made)


def local(made: Service) -> TestClient:
    return TestClient(made.app, base_url="http://127.0.0.1:3000", client=("127.0.0.1", 50_000))


@pytest.fixture
def described(caller: TestClient) -> dict[str, Any]:
    return caller.get("/openapi.json").json()


def validator(described: dict[str, Any], name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": described["components"]})


def test_it_describes_every_route_and_its_method(caller: TestClient, described: dict[str, Any]) -> None:
    there = set(re.findall(r"/[\w.]*", caller.get("/nothing").json()["error"])) - FILES
    assert set(described["paths"]) == there
    for path, methods in described["paths"].items():
        allowed = caller.request("DELETE", path).headers["allow"].lower().split(", ")
        assert set(methods) == set(allowed) - {"head"}


def test_every_schema_is_one_and_every_reference_leads_somewhere(described: dict[str, Any]) -> None:
    known = described["components"]["schemas"]
    for schema in known.values():
        Draft202012Validator.check_schema(schema)
    asked = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(described)))
    assert asked <= set(known)


@pytest.mark.parametrize("name", ["one", "many"])
def test_the_examples_of_predict_are_what_it_answers(caller: TestClient, described: dict[str, Any], name: str) -> None:
    told = described["paths"]["/predict"]["post"]
    asked = told["requestBody"]["content"]["application/json"]["examples"][name]["value"]
    promised = told["responses"]["200"]["content"]["application/json"]["examples"][name]["value"]
    answer = caller.post("/predict", json=asked).json()
    assert len(answer["predictions"]) == len(promised["predictions"]) == len(asked.get("texts", ["one"]))
    for said, example in zip(answer["predictions"], promised["predictions"], strict=True):
        assert said["probabilities"] == pytest.approx(example["probabilities"], abs=1e-4)
        assert said["confidence"] == pytest.approx(example["confidence"], abs=1e-4)
        kept = ("label", "needs_person", "model_version")
        assert {name: said[name] for name in kept} == {name: example[name] for name in kept}
    for body in (answer, promised):
        validator(described, "Answer").validate(body)


def test_the_example_of_feedback_is_what_it_answers(caller: TestClient, described: dict[str, Any]) -> None:
    told = described["paths"]["/feedback"]["post"]
    asked = told["requestBody"]["content"]["application/json"]["examples"]["one"]["value"]
    asked["request_id"] = caller.post("/predict", json={"text": "card"}).json()["predictions"][0]["request_id"]
    promised = told["responses"]["200"]["content"]["application/json"]["example"]
    assert caller.post("/feedback", json=asked).json() == {**promised, "request_id": asked["request_id"]}


def test_the_examples_of_alerts_are_alerts(caller: TestClient, described: dict[str, Any]) -> None:
    told = described["paths"]["/alerts"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    for example in told.values():
        validator(described, "AlertBody").validate(example["value"])
        answer = caller.post("/alerts", json=example["value"]).json()
        validator(described, "AlertsTaken").validate(answer)
        assert [alert["state"] for alert in answer["alerts"]] == ["open"]


@pytest.mark.parametrize("path", ["/model", "/livez", "/readyz"])
def test_the_examples_of_what_can_be_read_are_what_is_there(caller: TestClient, described: dict[str, Any], path: str) -> None:
    assert caller.get(path).json() == described["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["example"]


@pytest.mark.parametrize(
    "body",
    [
        {"text": "card"},
        {"texts": ["card", "fraud"]},
        {"text": "card", "texts": None, "groups": {"channel": "app"}},
        {},
        {"text": ""},
        {"text": " \n"},
        {"text": "card", "texts": ["card"]},
        {"texts": []},
        {"texts": ["a"] * 4},
        {"texts": ["x" * 61]},
        {"texts": ["card", " "]},
        {"text": 1},
        {"text": "card", "more": 1},
        {"text": "card", "groups": {"Channel": "app"}},
        {"text": "card", "groups": {"channel": ""}},
        {"text": "card", "groups": None},
        {"text": "card", "groups": {f"name{number}": "x" for number in range(17)}},
    ],
)
def test_the_schema_of_a_request_says_just_what_the_service_takes(caller: TestClient, described: dict[str, Any], body: dict) -> None:
    taken = caller.post("/predict", json=body).status_code
    assert taken in (200, 400)
    assert validator(described, "PredictRequest").is_valid(body) == (taken == 200)


def test_a_label_that_the_model_does_not_know_breaks_the_schema_of_feedback(made: Service, described: dict[str, Any]) -> None:
    told = validator(described, "Feedback")
    assert told.is_valid({"request_id": "0" * 32, "label": made.models.champion.about.labels[0]})
    assert not told.is_valid({"request_id": "0" * 32, "label": "weather"})


def refused(made: Service, keys: Path) -> dict[tuple[str, str, int], Any]:
    """Return an answer for every refusal that can be provoked from outside, by path, method and expected status."""
    caller = local(made)
    json_type = {"content-type": "application/json"}
    found = {
        ("/predict", "post", 400): caller.post("/predict", json={}),
        ("/predict", "post", 413): caller.post("/predict", content=b" " * 100_000, headers=json_type),
        ("/predict", "post", 415): caller.post("/predict", content=b"{}", headers={"content-type": "text/plain"}),
        ("/feedback", "post", 400): caller.post("/feedback", content=b"{", headers=json_type),
        ("/feedback", "post", 404): caller.post("/feedback", json={"request_id": "0" * 32, "label": "card"}),
        ("/feedback", "post", 413): caller.post("/feedback", content=b" " * 100_000, headers=json_type),
        ("/alerts", "post", 400): caller.post("/alerts", json={"key": "k"}),
        ("/alerts", "post", 413): caller.post("/alerts", content=b" " * 1_000_000, headers=json_type),
        ("/feedback", "post", 415): caller.post("/feedback", content=b"{}"),
    }
    with made.admission.claim(20):
        found[("/predict", "post", 429)] = caller.post("/predict", json={"text": "card"})
    made.models.champion_model.ready = False
    found[("/predict", "post", 503)] = caller.post("/predict", json={"text": "card"})
    found[("/model", "get", 503)] = caller.get("/model")
    found[("/readyz", "get", 503)] = caller.get("/readyz")
    made.models.champion_model.ready = True
    stranger = TestClient(made.app, base_url="http://127.0.0.1:3000", client=("203.0.113.9", 50_000))
    found[("/docs", "get", 403)] = stranger.get("/docs")
    _, key = KeyFile(keys).create("reader", ("read",))
    asking = local(live_service(made.models.champion.root.parent, keys))
    found[("/metrics", "get", 401)] = asking.get("/metrics")
    found[("/predict", "post", 403)] = asking.post("/predict", json={"text": "card"}, headers={"authorization": f"Bearer {key}"})
    return found


def test_every_refusal_is_described_with_its_headers_and_has_the_shape_it_promises(made: Service, tmp_path: Path) -> None:
    described = openapi(facts_of(made.models.champion))
    for (path, method, status), answer in refused(made, tmp_path / "other.json").items():
        assert answer.status_code == status, (path, answer.text)
        told = described["paths"][path][method]["responses"][str(status)]
        if path != "/readyz":
            validator(described, "Refused").validate(answer.json())
        present = {"www-authenticate", "retry-after"} & set(answer.headers)
        assert present <= {name.lower() for name in told.get("headers", ())}, (path, status)


def test_the_page_of_the_reference_has_every_operation_answer_and_example(caller: TestClient, described: dict[str, Any]) -> None:
    page = caller.get("/docs").text
    assert "<script" not in page
    for path, methods in described["paths"].items():
        for method, told in methods.items():
            assert f'id="{method}-{path.strip("/").replace(".", "-") or "page"}"' in page
            assert told["summary"] in page
            assert all(status in page for status in told["responses"])
    version = described["info"]["version"]
    assert page.count(f"&quot;model_version&quot;: &quot;{version}&quot;") >= 3
    for name in described["components"]["schemas"]:
        assert f'id="schema-{name}"' in page


def test_a_command_line_of_the_reference_sends_its_example_as_it_stands(caller: TestClient, described: dict[str, Any]) -> None:
    blocks = [html.unescape(block) for block in re.findall(r'<pre class="ask"[^>]*><code>(.*?)</code>', caller.get("/docs").text, re.S)]
    examples = described["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    sent = [json.loads(words[words.index("-d") + 1]) for words in map(shlex.split, blocks)]
    assert sent[:2] == [examples["one"]["value"], examples["many"]["value"]]
