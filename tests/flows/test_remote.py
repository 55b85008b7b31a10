"""The data of a commit, in cache and remote: what arrives is what the commit pins, or nothing arrives."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from evergreen.errors import RegistryError
from flows.bridge import objects as objects_module
from flows.bridge import remote, workspace
from tests.flows.stored import opened, stored_project
from tests.project_factories import copied, git
from tests.ssh_server import SshServer, ssh_server

BENTO = "build/bento"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in (remote, workspace, objects_module):
        monkeypatch.setattr(module, "HOME", tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stored_project(tmp_path_factory.mktemp("stored") / "project")


@pytest.fixture
def project(home: Path, template: Path, tmp_path: Path) -> Path:
    return copied(template, tmp_path / "project")


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with ssh_server(tmp_path_factory.mktemp("ssh")) as server:
        yield server


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def objects(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.parent.parent.name == "md5")


def damage(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(b"?" + path.read_bytes()[1:])
    path.chmod(0o444)


def empty_cache(project: Path) -> None:
    shutil.rmtree(project / ".dvc" / "cache")


def test_what_a_commit_records_is_its_outputs_and_its_added_data(project: Path) -> None:
    recorded = remote.recorded(project, "HEAD")
    assert set(recorded) == {BENTO, "reports/verdict.json", "models/reference", "data/source"}
    assert [path for path, oid in recorded.items() if oid.endswith(".dir")] == [BENTO, "models/reference", "data/source"]


def test_an_output_comes_from_the_cache_with_the_bytes_that_the_commit_pins(project: Path, tmp_path: Path) -> None:
    wanted = files(project / BENTO)
    commit = git(project, "rev-parse", "HEAD").strip()
    (project / "dvc.lock").unlink()  # what is checked out does not matter
    shutil.rmtree(project / "build")
    assert files(remote.fetch(project, commit, BENTO, tmp_path / "out" / "bento")) == wanted
    assert remote.fetch(project, commit, "reports/verdict.json", tmp_path / "verdict").read_bytes() == b"{}\n"
    with pytest.raises(RegistryError, match="is there already"):
        remote.fetch(project, commit, BENTO, tmp_path / "out" / "bento")
    with pytest.raises(RegistryError, match="records no build/other"):
        remote.fetch(project, commit, "build/other", tmp_path / "other")


def test_without_a_remote_of_its_own_data_goes_to_a_folder_and_comes_back(project: Path, home: Path, tmp_path: Path) -> None:
    assert remote.push(project, "HEAD") == str(home / "remote")
    wanted = files(project / BENTO)
    empty_cache(project)
    assert files(remote.fetch(project, "HEAD", BENTO, tmp_path / "bento")) == wanted
    assert files(remote.fetch(project, "HEAD", "data/source", tmp_path / "source")) == files(project / "data" / "source")


def test_a_workspace_uses_the_same_remote(project: Path, home: Path) -> None:
    remote.push(project, "HEAD")
    empty_cache(project)
    with workspace.workspace(project, "HEAD") as folder, opened(folder) as repo:
        repo.pull()
        assert files(folder / BENTO) == files(project / BENTO)


def test_damage_in_the_cache_is_found_and_mended_from_the_remote(project: Path, tmp_path: Path) -> None:
    remote.push(project, "HEAD")
    wanted = files(project / BENTO)
    for path in objects(project / ".dvc" / "cache"):
        damage(path)
    assert files(remote.fetch(project, "HEAD", BENTO, tmp_path / "bento")) == wanted
    assert files(remote.fetch(project, "HEAD", BENTO, tmp_path / "again")) == wanted


def test_damage_in_cache_and_remote_is_named_and_nothing_arrives(project: Path, home: Path, tmp_path: Path) -> None:
    remote.push(project, "HEAD")
    empty_cache(project)
    damaged = next(path for path in objects(home / "remote") if path.read_bytes() == b"two")
    damage(damaged)
    with pytest.raises(
        RegistryError,
        match=rf"build/bento/run is not .* other bytes under {damaged.parent.name}{damaged.name} .*from a backup or with `dvc push`",
    ):
        remote.fetch(project, "HEAD", BENTO, tmp_path / "bento")
    assert not any(path.name != "home" and path.name != "project" for path in tmp_path.iterdir())


def test_a_forged_listing_in_the_remote_is_refused(project: Path, home: Path, tmp_path: Path) -> None:
    remote.push(project, "HEAD")
    empty_cache(project)
    oid = remote.recorded(project, "HEAD")[BENTO]
    listing = home / "remote" / "files" / "md5" / oid[:2] / oid[2:]
    listing.chmod(0o644)
    listing.write_text('[{"md5": "b8a9f715dbb64fd5c56e7783c6820a61", "relpath": "../../outside"}]')
    with pytest.raises(RegistryError, match="has other bytes under"):
        remote.fetch(project, "HEAD", BENTO, tmp_path / "bento")


def test_data_that_the_cache_lacks_is_not_pushed_as_if_it_were_whole(project: Path) -> None:
    empty_cache(project)
    with pytest.raises(RegistryError, match="cannot be pushed"):
        remote.push(project, "HEAD")


def test_data_goes_over_ssh_and_comes_back(project: Path, home: Path, ssh: SshServer, tmp_path: Path) -> None:
    settings = f"[core]\n    remote = far\n['remote \"far\"']\n    url = {ssh.url}\n    keyfile = {ssh.key}\n"
    (project / ".dvc" / "config.local").write_text(settings, encoding="utf-8")
    wanted = files(project / BENTO)
    assert remote.push(project, "HEAD") == ssh.url
    assert {path.parent.name + path.name for path in objects(ssh.folder)} >= set(remote.recorded(project, "HEAD").values())
    empty_cache(project)
    assert files(remote.fetch(project, "HEAD", BENTO, tmp_path / "bento")) == wanted
    damage(objects(ssh.folder)[0])
    empty_cache(project)
    with pytest.raises(RegistryError, match="has other bytes under"):
        for number, path in enumerate(remote.recorded(project, "HEAD")):
            remote.fetch(project, "HEAD", path, tmp_path / str(number))
    assert not (home / "remote").exists()


def test_a_remote_that_does_not_answer_is_one_clear_message(project: Path, ssh: SshServer, tmp_path: Path) -> None:
    nobody = tmp_path / "nobody"
    nobody.write_bytes(ssh.key.read_bytes())  # a key of this shape, but at a port where nobody listens
    nobody.chmod(0o600)
    settings = f"[core]\n    remote = far\n['remote \"far\"']\n    url = ssh://127.0.0.1:1/store\n    keyfile = {nobody}\n"
    (project / ".dvc" / "config.local").write_text(settings, encoding="utf-8")
    with pytest.raises(RegistryError, match=r"the remote ssh://127\.0\.0\.1:1/store cannot be written to: .*docs/registry.md"):
        remote.push(project, "HEAD")
