"""The service on one machine as its operator sees it: real processes, real sockets, a model of a few kilobytes."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from evergreen.errors import ReleaseError
from evergreen.release.manifest import verify, write_manifest
from tests.release_factories import bento_folder
from tests.serving.running import Running, running


@pytest.fixture(scope="module")
def bentos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return two versions."""
    folder = tmp_path_factory.mktemp("bentos")
    return bento_folder(folder / "one"), bento_folder(folder / "two", threshold=0.7)


@pytest.fixture(scope="module")
def versions(bentos: tuple[Path, Path]) -> tuple[str, str]:
    one, two = (verify(bento).version for bento in bentos)
    return one, two


@pytest.fixture
def service(bentos: tuple[Path, Path], tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path / "home", str(bentos[0])) as service:
        yield service


def test_a_swap_and_a_rollback_change_what_answers(service: Running, bentos: tuple[Path, Path], versions: tuple[str, str]) -> None:
    one, two = versions
    assert service.version() == one
    service.ask("swap", bento=str(bentos[1]))
    assert service.version() == two
    warm = service.pids(one)
    service.ask("rollback")
    assert service.version() == one
    assert service.pids(one) == warm  # the same processes, warm all the while
    assert service.end() == 0
    assert not [line for line in service.said if "Traceback" in line]


def test_what_was_live_is_live_again_after_a_power_loss(service: Running, bentos: tuple[Path, Path], versions: tuple[str, str]) -> None:
    service.ask("swap", bento=str(bentos[1]))
    service.kill()
    service.start("--port", "0")
    assert service.version() == versions[1]
    service.wait_for(lambda: service.pids(versions[0]))  # the one before is warm again too
    service.ask("rollback")
    assert service.version() == versions[0]


def test_nothing_of_a_killed_service_goes_on_answering(service: Running) -> None:
    tree = psutil.Process(service.process.pid).children(recursive=True)
    assert len(tree) == 2
    service.process.kill()
    service.process.wait()
    psutil.wait_procs(tree, timeout=30)
    assert not [child for child in tree if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert service.get("/livez") == (0, "")


@pytest.mark.parametrize("of", ["front", "worker"])
def test_a_killed_process_is_back_and_the_same_version_answers(service: Running, versions: tuple[str, str], of: str) -> None:
    victim = service.pids("front" if of == "front" else versions[0])[0]
    os.kill(victim, signal.SIGKILL)
    service.wait_for(lambda: service.get("/readyz")[0] == 200)
    assert service.version() == versions[0]
    service.wait_for(lambda: any(f"{of}" in line and "is ready again" in line for line in service.said))


def test_a_version_that_cannot_be_trusted_or_started_leaves_the_live_one_alone(
    service: Running, bentos: tuple[Path, Path], versions: tuple[str, str], tmp_path: Path
) -> None:
    tampered = shutil.copytree(bentos[1], tmp_path / "tampered")
    (tampered / "src" / "artifact" / "model.onnx").write_bytes(b"another model")
    with pytest.raises(ReleaseError, match=r"changed: src/artifact/model\.onnx"):
        service.ask("swap", bento=str(tampered))
    wrong = bento_folder(tmp_path / "wrong", threshold=0.6)
    recorded = json.loads((wrong / "src" / "golden.json").read_text())
    recorded["examples"][0]["probabilities"].reverse()
    (wrong / "src" / "golden.json").write_text(json.dumps(recorded))
    write_manifest(wrong, name="tiny-inbox", version="wrong")
    with pytest.raises(ReleaseError, match="does not give its own recorded answers"):
        service.ask("swap", bento=str(wrong))
    older = bento_folder(tmp_path / "older", threshold=0.5)
    settings = json.loads((older / "src" / "service.json").read_text())
    (older / "src" / "service.json").write_text(json.dumps({name: settings[name] for name in settings if name != "cleaning"}))
    write_manifest(older, name="tiny-inbox", version="older")
    with pytest.raises(ReleaseError, match=r"older was built for another version of this service: .* does not fit \(cleaning\)"):
        service.ask("swap", bento=str(older))
    assert service.version() == versions[0]
    assert service.place.read().champion.version == versions[0]
    assert len(psutil.Process(service.process.pid).children()) == 2


def test_a_pointer_that_cannot_be_written_changes_nothing(service: Running, bentos: tuple[Path, Path], versions: tuple[str, str]) -> None:
    one, two = versions
    in_the_way = service.place.folder / ".live.json.partial"
    in_the_way.mkdir()
    with pytest.raises(ReleaseError, match=r"live\.json cannot be written: .*; nothing was changed"):
        service.ask("swap", bento=str(bentos[1]))
    assert service.version() == service.ask("live")["champion"] == one
    assert service.pids(two) == []  # what was started for it has ended
    in_the_way.rmdir()
    service.ask("swap", bento=str(bentos[1]))
    assert service.version() == service.ask("live")["champion"] == two


def test_a_disk_that_takes_no_bento_is_told_in_its_own_words(
    service: Running, bentos: tuple[Path, Path], versions: tuple[str, str]
) -> None:
    releases = service.place.folder / "releases"
    releases.rename(releases.with_name("elsewhere"))
    releases.write_text("")
    with pytest.raises(ReleaseError, match=r"(Not a directory|File exists): .*releases.*; nothing was changed"):
        service.ask("swap", bento=str(bentos[1]))
    releases.unlink()
    releases.with_name("elsewhere").rename(releases)
    assert service.version() == versions[0]


def test_a_shadow_is_never_heard_and_a_canary_is_heard_by_its_share(
    service: Running, bentos: tuple[Path, Path], versions: tuple[str, str]
) -> None:
    one, two = versions
    service.ask("trial", bento=str(bentos[1]), mode="shadow", share=0.0)
    assert {service.version() for _ in range(20)} == {one}
    service.ask("trial", bento=str(bentos[1]), mode="canary", share=1.0)
    assert {service.version() for _ in range(20)} == {two}
    service.ask("trial", bento=str(bentos[1]), mode="canary", share=0.0)
    assert {service.version() for _ in range(20)} == {one}
    service.ask("trial", bento=None, mode="canary", share=0.0)
    service.wait_for(lambda: not service.pids(two))


def test_a_second_service_in_the_same_home_is_refused(service: Running) -> None:
    with pytest.raises(AssertionError) as second:
        Running(service.home, "--port", "0")
    assert f"a service runs in {service.home} already (process {service.process.pid})" in str(second.value)


def test_a_port_that_is_taken_is_named(service: Running, bentos: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(AssertionError) as second:
        Running(tmp_path / "other", str(bentos[0]), "--port", str(service.port))
    assert f"cannot listen on 127.0.0.1:{service.port}: Address already in use" in str(second.value)


def test_without_a_version_it_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(AssertionError) as refused:
        Running(tmp_path / "home")
    assert "name what to serve: evergreen serve build/bento" in str(refused.value)
