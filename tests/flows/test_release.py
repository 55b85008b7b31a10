"""How a version goes live and back, and what the ledger says of it, whoever is killed on the way."""

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from evergreen.errors import EvergreenError, MonitorError, RegistryError, ReleaseError
from evergreen.release.ledger import Ledger
from evergreen.release.live import Place
from evergreen.release.registry import Registry
from evergreen.release.signing import create_key, read_trusted, trust
from flows import release
from flows.__main__ import main
from flows.bridge import objects, remote, workspace
from flows.commands import promote, service, signing, status
from flows.looking import whose
from flows.releasing import ledger as ledger_module
from flows.releasing import overtaken, permission, settle
from flows.releasing.permission import Override
from flows.running import tending
from tests.factories import LABELS
from tests.flows.stored import repackaged, stored_project
from tests.project_factories import copied, git
from tests.registry_factories import checkout, signed_ledger
from tests.release_factories import bento_folder

ROOT = Path(__file__).parents[2]
VERDICTS = ("PROMOTE", "PROMOTE", "HOLD")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a project whose last three commits each hold another version's Bento, on record with their verdicts, and its home."""
    folder = tmp_path_factory.mktemp("released")
    bentos = [
        bento_folder(folder / f"bento{number}", threshold=0.6 + number / 10, verdict=verdict) for number, verdict in enumerate(VERDICTS)
    ]
    root = stored_project(folder / "project", bentos[0])
    for bento in bentos[1:]:
        repackaged(root, bento)
    ledger = signed_ledger(Registry(root), folder / "home" / "signing")
    for commit, verdict in zip(git(root, "rev-list", "--reverse", "HEAD").split(), VERDICTS, strict=True):
        ledger.append("candidate", who="retrain", why="drift", commit=commit, lands=commit)
        ledger.append("verdict", who="gate", why="judged", commit=commit, facts={"verdict": verdict})
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "home"
    for module in (objects, release, remote, settle, service, status, workspace):
        monkeypatch.setattr(module, "HOME", found)
    for module in (overtaken, settle, release, tending):
        monkeypatch.setattr(module, "STATE", found / "release")
    for module in (signing, ledger_module, release):
        monkeypatch.setattr(module, "SIGNING", found / "signing")
    monkeypatch.setattr(ledger_module, "TRUSTED", found / "trusted")
    monkeypatch.setattr(ledger_module, "MEMORY", found / "signing" / "ledger.json")
    return found


@pytest.fixture
def project(template: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copied(template / "home", home)
    root = copied(template / "project", tmp_path / "project")
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def commits(project: Path) -> list[str]:
    """Each version's commit, the oldest first."""
    return git(project, "rev-list", "--reverse", "HEAD").split()


def quiet(words: str) -> None:
    """Say nothing."""


def released(root: Path, commit: str, **told: object) -> release.Released:
    return release.release(root, commit, **{"who": "Ada", "why": "better", "say": quiet, **told})  # type: ignore[arg-type]


def lines(root: Path) -> list[tuple[str, str | None, str]]:
    """Return the ledger's lines but those of the template."""
    return [(entry.event, entry.version, entry.who) for entry in ledger_module.opened(root).read()[2 * len(VERDICTS) :]]


def sound(root: Path, home: Path) -> bool:
    return ledger_module.opened(root).verify(read_trusted(home / "signing")) == []


def live(home: Path) -> str:
    pointer = Place(home).read()
    assert pointer is not None
    return pointer.champion.version


def failed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit):
        main(list(words))
    return " ".join(capsys.readouterr().err.split())


def test_a_version_goes_live_is_tagged_and_told_beside_a_dirty_checkout(project: Path, home: Path, commits: list[str]) -> None:
    (project / "dvc.yaml").write_text("a person's own\n")
    before = checkout(project)
    started = time.time()
    done = released(project, commits[0])
    assert (done.live, done.version.name, done.version.commit) == (True, "v1.0.0", commits[0])
    assert live(home) == done.version.model_version
    registry = ledger_module.opened(project).registry
    assert registry.live() == done.version
    entry = ledger_module.opened(project).who_was_live(time.time())
    assert entry is not None
    assert (entry.version, entry.who, entry.why, entry.commit) == ("v1.0.0", "Ada", "better", commits[0])
    assert started - 1 <= entry.since <= time.time()
    assert entry.facts["verdict"] == "PROMOTE"
    assert checkout(project) == before
    assert sound(project, home)
    assert list((home / "release" / "bento").iterdir()) == []


def test_versions_follow_one_another_and_go_back(project: Path, home: Path, commits: list[str]) -> None:
    released(project, commits[0])
    released(project, commits[1])
    assert released(project, commits[1]).words == "v1.1.0 was live already"
    release.roll_back(project, who="Bob", why="complaints", say=quiet)
    registry = ledger_module.opened(project).registry
    assert (registry.live() or registry).name == "v1.0.0"  # type: ignore[union-attr]
    assert live(home) == registry.find("v1.0.0").model_version
    released(project, commits[1], event="rollback", who="Cyd")
    assert lines(project) == [
        ("promotion", "v1.0.0", "Ada"),
        ("promotion", "v1.1.0", "Ada"),
        ("rollback", "v1.0.0", "Bob"),
        ("rollback", "v1.1.0", "Cyd"),
    ]
    assert sound(project, home)


def test_what_the_gate_has_not_promoted_needs_a_name_a_reason_and_an_end(
    project: Path, home: Path, commits: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "the gate says HOLD" in failed(capsys, "promote", commits[2])
    for words in (["--until", "14d"], ["--until", "14d", "--who", "Ada"], ["--until", "14d", "--why", "needed"]):
        assert "an override needs a name, a reason and an end" in failed(capsys, "promote", commits[2], *words)
    with pytest.raises(SystemExit):
        main(["promote", commits[2], "--who", "Ada", "--why", "needed", "--until", "2020-01-01"])
    assert Place(home).read() is None
    assert ledger_module.opened(project).registry.versions() == []
    main(["promote", commits[2], "--who", "Ada", "--why", "needed", "--until", "14d"])
    assert lines(project) == [("override", "v1.0.0", "Ada"), ("promotion", "v1.0.0", "Ada")]
    released(project, commits[0])
    main(["rollback", "v1.0.0", "--who", "Bob"])  # the override has not ended
    assert lines(project)[-1] == ("rollback", "v1.0.0", "Bob")


def test_an_override_that_has_ended_opens_no_door(project: Path, home: Path, commits: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ReleaseError, match="ends in the future"):
        released(project, commits[2], override=Override("Ada", "needed", time.time() - 1))
    until = time.time() + 3600
    released(project, commits[2], override=Override("Ada", "needed", until))
    released(project, commits[0])
    monkeypatch.setattr(permission.time, "time", lambda: until + 1)
    with pytest.raises(ReleaseError, match="the override by Ada ended"):
        released(project, commits[2], event="rollback")
    before = Place(home).read()
    with pytest.raises(ReleaseError, match=r"the override by Ada ended .* evergreen promote"):
        release.roll_back(project, who="Bob", why="complaints", say=quiet)
    assert Place(home).read() == before
    (project / ".git" / "HEAD").write_text("damaged\n")  # where git cannot say, an outage is worse
    assert release.roll_back(project, who="Bob", why="complaints", say=quiet).champion.version != before.champion.version  # type: ignore[union-attr]


def test_the_newest_promote_that_waits_is_what_promote_means(project: Path, commits: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["promote", "--why", "looked at"])
    assert ledger_module.opened(project).registry.find("v1.0.0").commit == commits[1]
    assert "no version waits to be promoted" in failed(capsys, "promote")


def test_a_version_is_found_by_what_a_person_may_call_it(project: Path, commits: list[str]) -> None:
    ledger = ledger_module.opened(project)
    done = released(project, commits[0])
    for name in ("v1.0.0", done.version.model_version, commits[0][:8]):
        assert promote.named(ledger, name) == commits[0]
    assert promote.named(ledger, "main") == commits[2]
    with pytest.raises(RegistryError, match="is no version here"):
        promote.named(ledger, "nowhere")


def test_a_bento_is_signed_where_there_is_a_key_and_refused_where_it_must_be(project: Path, home: Path, commits: list[str]) -> None:
    public = create_key(home / "others", "other")
    trust(public, home / "trusted")
    with pytest.raises(ReleaseError, match="is not signed"):
        released(project, commits[0])
    assert lines(project) == []
    trust(create_key(home / "signing", "release"), home / "trusted")
    assert released(project, commits[0]).live
    assert (Place(home).bento(Place(home).read().champion) / "MANIFEST.sig").exists()  # type: ignore[union-attr]


def test_a_tag_that_was_moved_is_named_and_refused(project: Path, commits: list[str]) -> None:
    released(project, commits[0])
    released(project, commits[1])
    git(project, "tag", "--delete", "model@v1.1.0")
    git(project, "tag", "--force", "--annotate", "--message=x", "model@v1.0.0", commits[1])
    with pytest.raises(ReleaseError, match=rf"v1\.0\.0 points to {commits[1][:12]}, but line 7 of the ledger says {commits[0][:12]}"):
        released(project, promote.named(ledger_module.opened(project), "v1.0.0"), event="rollback")


def test_without_data_nothing_is_tagged(project: Path, commits: list[str]) -> None:
    shutil.rmtree(project / ".dvc" / "cache")
    with pytest.raises(RegistryError, match=r"is missing|is lost"):
        released(project, commits[0])
    assert ledger_module.opened(project).registry.versions() == []


def test_other_labels_make_a_version_that_breaks_with_the_old_one(project: Path, commits: list[str], tmp_path: Path) -> None:
    released(project, commits[0])
    repackaged(project, bento_folder(tmp_path / "wide", (*LABELS, "zebra"), verdict="PROMOTE"))
    assert released(project, "HEAD").version.name == "v2.0.0"


def test_dvc_gets_the_artifact_of_a_version_and_of_what_is_live(project: Path, commits: list[str], tmp_path: Path) -> None:
    released(project, commits[0])
    released(project, commits[1])
    release.roll_back(project, who="Bob", why="x", say=quiet)
    for words, commit in ((["--rev", "v1.1.0"], commits[1]), (["--stage", "prod"], commits[0])):
        target = tmp_path / words[1]
        command = ["dvc", "artifacts", "get", str(project), "model", *words, "--out", str(target)]
        subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
        told = json.loads((target / "MANIFEST.json").read_text(encoding="utf-8"))
        assert told["version"] == next(v.model_version for v in ledger_module.opened(project).registry.versions() if v.commit == commit)


def test_the_monitor_gets_the_reference_of_a_registered_version_whatever_the_project_holds(
    project: Path, commits: list[str], tmp_path: Path
) -> None:
    done = released(project, commits[0])
    wanted = remote.fetch(project, commits[0], "models/reference", tmp_path / "wanted")
    assert whose._fetched(done.version.model_version, project, tmp_path / "home" / "kept")
    assert (tmp_path / "home" / "kept" / "table").read_text() == (wanted / "table").read_text()
    (project / "dvc.yaml").write_text("stages: [", encoding="utf-8")  # somebody is editing it
    with pytest.raises(MonitorError, match=r"cannot be looked for in .*dvc\.yaml"):
        whose._found(done.version.model_version, project)
    assert not whose._fetched("nobody", project, tmp_path / "home" / "other")
    assert not whose._fetched("nobody", tmp_path, tmp_path / "home" / "other")


def test_the_status_calls_versions_by_name_and_tells_what_waits(project: Path, commits: list[str]) -> None:
    found = status.gather(project, None)
    assert (found.version, found.waiting is not None) == (None, True)
    done = released(project, commits[2], override=Override("Ada", "needed", time.time() + 3600))
    found = status.gather(project, None)
    assert (found.called, found.waiting) == (f"v1.0.0 ({done.version.model_version})", None)
    assert found.headline.startswith("live: v1.0.0 (")
    assert [note for note in found.notes if "v1.0.0" in note] == []


def test_errors_are_messages(project: Path, home: Path, commits: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "nothing has been live" in failed(capsys, "rollback")
    with pytest.raises(EvergreenError, match="there is no commit 'nowhere'"):
        released(project, "nowhere")
    released(project, commits[0])
    assert "there is no version to go back to" in failed(capsys, "rollback")


def test_the_ledger_signs(project: Path, commits: list[str]) -> None:
    ledger: Ledger = ledger_module.opened(project)
    assert {entry.signature is not None for entry in ledger.read()} == {True}
