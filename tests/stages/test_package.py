"""The Bento, built for real around a tiny model and served for real on a loopback port."""

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
import yaml

from evergreen.config import Params, load_params
from evergreen.data.records import write_table
from evergreen.errors import EvidenceError, PipelineError
from evergreen.model.inference import Classifier
from evergreen.release.bento import build_bento
from evergreen.release.dependencies import pinned
from evergreen.release.manifest import verify
from serving.settings import Limits
from stages.package import package
from tests.release_factories import contents, installed, predictions
from tests.serving import raw_client

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "prefect", "pandas", "dvc", "stages", "flows")


def params() -> Params:
    return load_params(ROOT / "params.yaml")


def run_package(folder: Path, version: str | None = None, judged: str | None = None) -> Path:
    """Run the stage over a tiny model in the folder; return the Bento. The verdict and the predictions may speak of another version."""
    made = contents(folder)
    (folder / "verdict.json").write_text(json.dumps({"verdict": "HOLD", "model_version": version or made.version}), encoding="utf-8")
    (folder / "constraints.txt").write_text(installed(), encoding="utf-8")
    classifier = Classifier.load(folder / "artifact", folder / "calibration.json")
    write_table(predictions(classifier).assign(**({"model_version": judged} if judged else {})), folder / "predictions.parquet")
    names = {file.partition(".")[0]: file for file in made.files} | {"card": "MODEL_CARD.md", "predictions": "predictions.parquet"}
    names.pop("MODEL_CARD")
    inputs = {**{name: folder / file for name, file in names.items()}, "verdict": folder / "verdict.json"}
    package(params(), SimpleNamespace(**inputs, constraints=folder / "constraints.txt"), SimpleNamespace(bento=folder / "bento"))
    return folder / "bento"


@pytest.fixture(scope="module")
def bento(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("package")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVERGREEN_HOME", str(folder / ".home"))
        yield run_package(folder)


def environment(folder: Path) -> dict[str, str]:
    """Return an environment in which nothing of the project can be imported but what the Bento brings."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    places = {"BENTOML_HOME": str(folder / "serve-home"), "EVERGREEN_HOME": "state", "PWD": str(folder)}
    return inherited | places | {"BENTOML_DO_NOT_TRACK": "True"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(server: subprocess.Popen[bytes], url: str, log: Path, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            if httpx.get(f"{url}/readyz", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"the service did not come up:\n{log.read_text(encoding='utf-8')[-3000:]}")


@pytest.fixture(scope="module")
def service(bento: Path) -> Iterator[httpx.Client]:
    """Serve the Bento in a process of its own, in another folder, and stop it as a person would."""
    url, log = f"http://127.0.0.1:{(port := free_port())}", bento.parent / "serve.log"
    command = [sys.executable, "-m", "bentoml", "serve", str(bento), "--host", "127.0.0.1", "--port", str(port)]
    place = {"cwd": bento.parent, "env": environment(bento.parent), "start_new_session": True}
    with log.open("wb") as sink:
        server = subprocess.Popen(command, stdout=sink, stderr=sink, **place)
    try:
        wait_until_ready(server, url, log)
        with httpx.Client(base_url=url, timeout=20) as client:
            yield client
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=30) == 0
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
    said = log.read_text(encoding="utf-8")
    assert "Traceback" not in said
    assert "privatestuff" not in said


def test_the_bento_answers_one_text_and_many(service: httpx.Client) -> None:
    one = service.post("/predict", json={"text": "card please"})
    many = service.post("/predict", json={"texts": ["card please", "savings", "hello"]})
    assert (one.status_code, many.status_code) == (200, 200)
    (alone,) = one.json()["predictions"]
    first, second, unsure = many.json()["predictions"]
    assert alone["label"] == first["label"] == "card"
    assert alone["confidence"] == pytest.approx(first["confidence"], abs=1e-6)
    assert sum(alone["probabilities"].values()) == pytest.approx(1)
    assert (second["label"], second["needs_person"], unsure["needs_person"]) == ("savings", False, True)
    assert alone["model_version"] == service.get("/model").json()["version"]


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ('{"texts": []}', "texts: List should have at least 1 item"),
        ('{"text": ""}', "text: String should have at least 1 character"),
        ('{"text": "\\u200b"}', "nothing is left to classify after cleaning the text at place 0"),
        ('{"texts": [NaN]}', "texts[0]: Input should be a valid string"),
        ('{"text": "privatestuff", "privatestuff": 1}', "an unknown key; the choices are texts, text, groups"),
        ('{"text": "privatestuff', "Invalid JSON"),
        ("", "Invalid JSON"),
        ("[]", "should be an object"),
    ],
)
def test_a_bad_request_gets_a_clear_refusal(service: httpx.Client, body: str, what: str) -> None:
    got = service.post("/predict", content=body, headers={"content-type": "application/json"})
    assert got.status_code == 400
    assert what in got.json()["error"]
    assert "privatestuff" not in got.text


def test_what_is_not_json_or_too_large_is_refused_unread(service: httpx.Client) -> None:
    most = Limits.model_validate(params().package.model_dump()).max_bytes
    assert service.post("/predict", data={"text": "card"}).status_code == 415
    assert service.post("/predict", content=b"\x80", headers={"content-type": "application/vnd.bentoml+pickle"}).status_code == 415
    huge = service.post("/predict", content=b" " * (most + 1), headers={"content-type": "application/json"})
    assert huge.status_code == 413
    assert f"at most {most:,} bytes" in huge.json()["error"]


OWN_ROUTES = ("/", "/predict", "/feedback", "/docs.json", "/schema.json", "/healthz", "/static_content/index.html", "/livez", "/metrics")


@pytest.mark.parametrize("path", OWN_ROUTES)
@pytest.mark.parametrize("kind", ["application/vnd.bentoml+pickle", "multipart/form-data; boundary=x", "application/json"])
def test_bentomls_own_routes_and_parsers_see_no_request(service: httpx.Client, path: str, kind: str) -> None:
    port = int(str(service.base_url).rstrip("/").rpartition(":")[2])
    body = raw_client.PICKLE + b"privatestuff"  # what stands behind its end is not read, but could be logged
    got = raw_client.send(port, [raw_client.post(body, path, kind, Payload_Container="NdarrayContainer")])
    assert 400 <= got.status < 500
    assert set(got.json()) == {"error", "detail"}
    assert service.get("/livez").status_code == 200


def test_endless_bodies_are_refused_inside_a_bento_too(service: httpx.Client) -> None:
    port = int(str(service.base_url).rstrip("/").rpartition(":")[2])
    assert raw_client.send(port, raw_client.chunked(itertools.repeat(b" " * 2**20))).status == 413
    huge = raw_client.post(b"", Content_Length=str(200 * 2**20))
    assert raw_client.send(port, itertools.chain([huge], itertools.repeat(b" " * 2**20, 200))).status == 413
    assert raw_client.answers(port)


def test_the_service_shows_its_model_its_documents_and_its_health(service: httpx.Client) -> None:
    told = service.get("/model").json()
    assert (told["name"], told["threshold"], told["verdict"]) == (params().document.name, 0.8, "HOLD")
    assert told["limits"]["max_texts"] == params().package.max_texts
    assert "Tiny dossier" in service.get("/card").text
    assert told["version"] in service.get("/").text
    assert [service.get(path).status_code for path in ("/livez", "/readyz", "/metrics", "/openapi.json", "/docs")] == [200] * 5


def test_the_service_imports_nothing_that_trains_and_only_its_own_copy_of_the_code(bento: Path) -> None:
    look = (
        "import sys, bentoml; bentoml.load(sys.argv[1]).inner(); import evergreen, serving; "
        "print(evergreen.__file__, serving.__file__, *sys.modules, sep='\\n')"
    )
    place = {"cwd": bento.parent, "env": environment(bento.parent)}
    done = subprocess.run([sys.executable, "-c", look, str(bento)], capture_output=True, text=True, check=True, **place)
    own, other, *modules = done.stdout.splitlines()
    assert Path(own).is_relative_to(bento / "src")
    assert Path(other).is_relative_to(bento / "src")
    assert set(HEAVY) & {name.partition(".")[0] for name in modules} == set()


def test_the_bento_asks_for_the_pinned_versions_and_for_nothing_that_trains(bento: Path) -> None:
    lines = (bento / "env" / "python" / "requirements.txt").read_text(encoding="utf-8").split()
    asked, known = pinned("\n".join(lines)), pinned(installed())
    assert len(lines) == len(asked)
    assert asked == {name: known[name] for name in asked}
    assert {"bentoml", "onnxruntime", "tokenizers", "psycopg-binary"} <= set(asked)
    assert set(HEAVY) & set(asked) == set()


def test_serving_a_bento_writes_nothing_into_it(service: httpx.Client, bento: Path) -> None:
    assert service.post("/predict", json={"text": "card please"}).status_code == 200
    verify(bento)
    assert list((bento.parent / "state" / "spool").iterdir())


def test_the_bento_is_what_its_manifest_says(bento: Path) -> None:
    found = verify(bento)
    assert (found.name, found.version) == (
        params().document.name,
        yaml.safe_load((bento / "bento.yaml").read_text(encoding="utf-8"))["version"],
    )


def test_the_bento_carries_name_version_and_settings(bento: Path) -> None:
    described = yaml.safe_load((bento / "bento.yaml").read_text(encoding="utf-8"))
    settings = json.loads((bento / "src" / "service.json").read_text(encoding="utf-8"))
    assert described["name"] == settings["name"] == params().document.name
    assert len(described["version"]) == 12
    assert settings["cleaning"]["mask"] == list(params().clean.mask)
    assert settings["serve"] == params().serve.model_dump()


def test_the_bento_carries_examples_that_its_own_model_answers_as_recorded(bento: Path) -> None:
    carried = json.loads((bento / "src" / "golden.json").read_text(encoding="utf-8"))
    classifier = Classifier.load(bento / "src" / "artifact", bento / "src" / "calibration.json")
    assert {example["label"] for example in carried["examples"]} == set(classifier.labels)
    for example in carried["examples"]:
        (again,) = classifier.probabilities([example["text"]])
        np.testing.assert_allclose(again, example["probabilities"], atol=carried["tolerance"], rtol=0)


@pytest.mark.parametrize("name", ["metrics.json", "provenance.json"])
def test_the_bento_carries_what_was_measured_and_where_it_comes_from(bento: Path, name: str) -> None:
    assert (bento / "src" / name).read_bytes() == (bento.parent / name).read_bytes()


def test_packaging_leaves_the_persons_own_bentos_alone_and_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path / ".home"))
    kept = tmp_path / ".home" / "bentoml" / "bentos" / params().document.name / "earlier" / "bento.yaml"
    kept.parent.mkdir(parents=True)
    kept.write_text("a person's own", encoding="utf-8")
    run_package(tmp_path)
    assert [file for file in (tmp_path / ".home").rglob("*") if file.is_file()] == [kept]


def digests(folder: Path) -> dict[str, str]:
    files = (file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return {str(file.relative_to(folder)): sha256(file.read_bytes()).hexdigest() for file in files}


def test_the_same_contents_build_the_same_bytes_without_the_network(tmp_path: Path, bento: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there: a request would fail the build
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path / ".home"))
    assert digests(run_package(tmp_path)) == digests(bento)


@pytest.mark.parametrize("place", ["build/bento/src/serving/__pycache__/service.pyc", "build/bento/MANIFEST.sig"])
def test_what_comes_to_a_bento_after_its_build_does_not_make_it_stale(place: str) -> None:
    command = [sys.executable, "-m", "dvc", "check-ignore", place]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip() == place


def test_a_model_other_than_the_one_judged_is_not_packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path / ".home"))
    with pytest.raises(EvidenceError, match=r"verdict.json judges model another"):
        run_package(tmp_path / "verdict", version="another")
    with pytest.raises(EvidenceError, match=r"predictions.parquet judges model another"):
        run_package(tmp_path / "predictions", judged="another")
    assert [*tmp_path.glob("*/bento")] == []


def test_a_build_that_fails_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    made = contents(tmp_path)
    for folder in ("model", "pages/static"):
        (tmp_path / "code" / "serving" / folder).mkdir(parents=True)
    for name in ("service.py", "model/worker.py", "pages/page.css"):
        (tmp_path / "code" / "serving" / name).write_text("raise ImportError('nothing to serve')", encoding="utf-8")
    with pytest.raises(PipelineError, match="nothing to serve"):
        build_bento(made, root=tmp_path / "code", bench=tmp_path / "bench", target=tmp_path / "bento")
    assert not (tmp_path / "bento").exists()
    assert not (tmp_path / "bench").exists()
