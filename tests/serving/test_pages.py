"""What the service tells about itself: always of the live version, in pages that load nothing from elsewhere."""

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.live_factories import LoadedModel, live_service
from tests.release_factories import SETTINGS, bento_folder
from tests.serving_factories import Service

ROUTES = ("/", "/card", "/docs", "/model", "/openapi.json")


@pytest.fixture(scope="module")
def bento(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bento_folder(tmp_path_factory.mktemp("bento") / "tiny")


@pytest.fixture
def made(bento: Path, tmp_path: Path) -> Service:
    return live_service(bento, tmp_path / "keys.json")


@pytest.fixture
def caller(made: Service) -> TestClient:
    return TestClient(made.app, base_url="http://127.0.0.1:3000", client=("127.0.0.1", 50_000))


def test_the_model_tells_its_version_its_figures_and_where_it_comes_from(made: Service, caller: TestClient) -> None:
    told = caller.get("/model").json()
    about = made.models.champion.about
    assert (told["version"], tuple(told["labels"]), told["threshold"]) == (about.version, about.labels, about.threshold)
    assert {name: told[name] for name in ("name", "title", "verdict", "limits")} == {
        name: SETTINGS[name] for name in ("name", "title", "verdict", "limits")
    }
    assert told["metrics"]["answered"]["accuracy"]["low"] < told["metrics"]["answered"]["accuracy"]["value"]
    assert len(told["provenance"]["code"]["commit"]) == 40


@pytest.mark.parametrize("path", ROUTES)
def test_a_page_speaks_of_the_version_that_is_live_now(made: Service, caller: TestClient, tmp_path: Path, path: str) -> None:
    before = made.models.champion.about.version
    assert before in caller.get(path).text
    made.models.champion_model = LoadedModel(bento_folder(tmp_path / "next", sharpness=9.0))
    after = caller.get(path).text
    assert made.models.champion.about.version in after
    assert before not in after


@pytest.mark.parametrize("path", ROUTES)
def test_while_no_model_can_answer_the_pages_say_so(made: Service, caller: TestClient, path: str) -> None:
    made.models.champion_model.ready = False
    refused = caller.get(path)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert "come back" in refused.json()["error"]
    assert caller.get("/page.css").status_code == 200


@pytest.mark.parametrize("path", ["/", "/card", "/docs"])
def test_a_page_may_load_nothing_from_elsewhere_and_asks_for_nothing(caller: TestClient, path: str) -> None:
    page = caller.get(path)
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert not [part for name, part in policy.items() if "http" in part or "*" in part]
    assert "unsafe" not in policy.get("script-src", "")
    linked = re.findall(r"""(?:src|href|action)=["']?([^"' >]+)""", page.text)
    assert [link for link in linked if re.match(r"(?:[a-z]+:)?//", link)] == []


@pytest.mark.parametrize("name", ["page.css", "page.js"])
def test_style_and_script_load_nothing_from_elsewhere(caller: TestClient, name: str) -> None:
    file = caller.get(f"/{name}")
    assert file.headers["content-type"].startswith(("text/css", "text/javascript"))
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\(|eval\(|innerHTML", re.sub(r"^\s*//.*$", "", file.text, flags=re.M))


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_what_a_version_calls_itself_is_text_and_never_markup(caller: TestClient, path: str) -> None:
    page = caller.get(path).text
    assert "Tiny &lt;inbox&gt;" in page
    assert "<inbox>" not in page
    assert "<each>" not in page


def test_what_is_masked_is_told_as_it_is(made: Service, caller: TestClient, tmp_path: Path) -> None:
    assert "e-mail addresses are masked; names and postal addresses are not" in caller.get("/").text
    bare = bento_folder(tmp_path / "bare", cleaning={"unicode_form": "NFC", "mask": []})
    made.models.champion_model = LoadedModel(bare)
    assert "Nothing is masked" in caller.get("/").text
    assert "Nothing is masked" in caller.get("/openapi.json").text


def test_a_foreign_host_name_does_not_get_into_a_page(bento: Path, tmp_path: Path) -> None:
    made = live_service(bento, tmp_path / "keys.json")
    caller = TestClient(made.app, base_url="http://127.0.0.1:3000", client=("127.0.0.1", 50_000))
    assert caller.get("/docs").text.count("curl http://127.0.0.1:3000/") == 5
    odd = caller.get("/docs", headers={"host": "x'$(id)"})
    assert "$(id)" not in odd.text


def test_a_page_is_made_once_for_a_version_and_not_for_every_caller(
    made: Service, caller: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [path for path in ROUTES for _ in range(3)]
    first = {path: caller.get(path).text for path in ROUTES}
    for name in ("openapi", "reference", "front_page"):
        monkeypatch.setattr(f"serving.pages.about.{name}", None)  # calling it would fail
    assert [caller.get(path).text for path in asked] == [first[path] for path in asked]
