"""Who is let in."""

import base64
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from evergreen.access import KeyFile
from serving.api.callers import is_local
from tests.serving_factories import service


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def ask(path: Path, method: str = "POST", route: str = "/predict", *, server: str = "127.0.0.1", client: str = "127.0.0.1", **headers: str):
    caller = TestClient(service(path).app, base_url=f"http://{server}:3000", client=(client, 50_000))
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return caller.request(method, route, json={"text": "card"} if method == "POST" else None, headers=named)


def basic(key: str) -> str:
    return "Basic " + base64.b64encode(f"anyone:{key}".encode()).decode()


def test_without_keys_the_machine_itself_is_answered(path: Path) -> None:
    assert [ask(path, host=host).status_code for host in ("127.0.0.1:3000", "localhost", "[::1]:3000")] == [200] * 3


@pytest.mark.parametrize(
    "odd",
    [
        {"client": "10.0.0.7"},
        {"client": "localhost.evil.example"},
        {"host": "bank.example"},
        {"host": "127.0.0.1.evil.example:3000"},
        {"server": "10.0.0.1", "host": "localhost:3000"},
        {"host": "localhost:3000", "x_forwarded_for": "127.0.0.1"},
        {"forwarded": "for=127.0.0.1"},
        {"via": "1.1 proxy"},
    ],
)
def test_without_keys_nobody_else_is_answered(path: Path, odd: dict[str, str]) -> None:
    refused = ask(path, **odd)
    assert refused.status_code == 403
    assert "own machine" in refused.json()["error"]
    assert ask(path, "GET", "/livez", **odd).status_code == 200


@pytest.mark.parametrize(("version", "local"), [("1.1", True), ("1.0", False)])
def test_a_proxy_that_says_nothing_of_itself_is_known_by_its_old_http(version: str, local: bool) -> None:
    scope = {
        "http_version": version,
        "headers": [(b"host", b"127.0.0.1:3000")],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 3000),
    }
    assert is_local(scope) is local


def test_with_keys_even_the_machine_itself_needs_one(path: Path) -> None:
    _, shown = KeyFile(path).create("a")
    refused = ask(path)
    assert refused.status_code == 401
    assert [kind.split()[0] for kind in refused.headers.get_list("www-authenticate")] == ["Bearer", "Basic"]
    assert ask(path, authorization=f"Bearer {shown}", client="10.0.0.7", host="bank.example").status_code == 200
    assert ask(path, authorization=basic(shown)).status_code == 200


@pytest.mark.parametrize(
    "given", ["Bearer", "Bearer x", "Basic ###", "Basic /////w==", "Digest a", "Bearer " + "x" * 9000, "Bearer eg_000000000000_" + "x" * 43]
)
def test_a_wrong_key_is_refused_in_one_way(path: Path, given: str) -> None:
    KeyFile(path).create("a")
    refused = ask(path, authorization=given)
    assert (refused.status_code, refused.json()["error"]) == (401, "this API key is not known here, or was revoked")


def test_a_key_may_only_what_it_was_made_for(path: Path) -> None:
    _, shown = KeyFile(path).create("a", ("read",))
    key = f"Bearer {shown}"
    assert ask(path, "GET", "/metrics", authorization=key).status_code == 200
    refused = ask(path, authorization=key)
    assert (refused.status_code, refused.json()["error"]) == (403, "this API key may not predict")


def test_health_needs_no_key(path: Path) -> None:
    KeyFile(path).create("a")
    assert [ask(path, "GET", route, client="10.0.0.7").status_code for route in ("/livez", "/readyz", "/metrics")] == [200, 200, 401]


def test_damaged_keys_let_nobody_in_and_health_says_so(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.write_text("{")
    path.chmod(0o600)
    assert ask(path).status_code == 503
    ready = ask(path, "GET", "/readyz")
    assert (ready.status_code, ready.json()["status"]) == (503, "closed")
    assert str(path) not in ready.text and str(path) in caplog.text  # anybody may ask; the operator needs the name of the file
    assert ask(path, "GET", "/livez").status_code == 200


def test_the_key_is_on_record_by_its_id_alone(path: Path) -> None:
    key, shown = KeyFile(path).create("a")
    made = service(path)
    TestClient(made.app).post("/predict", json={"text": "card"}, headers={"authorization": f"Bearer {shown}"})
    assert [row.key_id for row in made.recorder.rows] == [key.id]
