"""`evergreen reproduce`: a version comes out bit for bit, and a record that somebody has touched is named and refused."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from evergreen.errors import EvergreenError
from evergreen.release.ledger import LEDGER, Ledger
from evergreen.release.registry import Registry
from evergreen.release.reproduction import Comparison
from flows import reproduce
from flows.bridge import objects, workspace
from flows.commands.reproduce import show
from flows.releasing import ledger
from tests.project_factories import copied, dvc, evergreen, git, outputs

pytestmark = [
    pytest.mark.timeout(900),
    # DVC itself uses what its library is about to drop
    pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise:DeprecationWarning"),
]
ARTIFACT = "models/artifact/model.onnx"


@pytest.fixture(scope="module")
def released(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished project, its model registered as v1.0.0, its data in a remote beside it."""
    project = copied(finished, tmp_path_factory.mktemp("released") / "project")
    _register(project, Registry(project).resolve("main"), "v1.0.0")
    dvc(project, "remote", "add", "--local", "--default", "store", "../store")
    dvc(project, "push", "--quiet")
    return project


def _register(project: Path, commit: str, name: str) -> None:
    registry = Registry(project)
    version = registry.tag(name, commit, model_version="m")
    Ledger(registry).append("candidate", who="a", why="b", version=version.name, model_version="m", commit=commit)


@pytest.fixture
def version(released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the released project to tamper with; its own state."""
    shutil.copytree(released.parent / "store", tmp_path / "store")
    for module in (workspace, objects):
        monkeypatch.setattr(module, "HOME", tmp_path / "home")
    monkeypatch.setattr(workspace, "WORKTREES", tmp_path / "home" / "worktrees")
    for folder in ("signing", "trusted"):
        monkeypatch.setattr(ledger, folder.upper(), tmp_path / "home" / folder)
    return copied(released, tmp_path / "project")


@pytest.mark.long
def test_a_version_comes_out_bit_for_bit_also_with_one_core_and_in_another_language(version: Path) -> None:
    done = evergreen(version, "reproduce", "v1.0.0", OMP_NUM_THREADS="1", TZ="Asia/Tokyo", LC_ALL="C", LANG="C")
    assert "v1.0.0 is rebuilt bit for bit" in done.stdout
    assert "differs" not in done.stdout
    assert git(version, "status", "--porcelain") == ""
    assert git(version, "worktree", "list").count("\n") == 1
    assert [path.name for path in (version / ".evergreen" / "worktrees").iterdir()] == []


@pytest.mark.long
def test_other_bytes_end_with_a_status_and_the_name_of_the_first(version: Path) -> None:
    """The record of a forged lock file, with every name in its place, is not what comes out."""
    registry, lock = Registry(version), (version / "dvc.lock").read_text()
    oid = outputs(version)["plots/confusion.csv"]
    forged = dvc(version, "--version").stdout.encode()
    other = objects.md5(forged).hexdigest()
    for store in (version / ".dvc/cache", version.parent / "store"):
        place = store / "files/md5" / other[:2] / other[2:]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(forged)
    commit = registry.commit({"dvc.lock": lock.replace(oid, other).encode()}, "forged", base="main", parents=["main"])
    _register(version, commit, "v1.1.0")
    done = evergreen(version, "reproduce", "v1.1.0", check=False)
    assert done.returncode == 1
    assert "v1.1.0 is NOT what was recorded: 1 of" in done.stdout
    assert "the first of them plots/confusion.csv (evaluate); the recorded tuple is the same here" in done.stdout


def move_the_tag(project: Path) -> None:
    git(project, "tag", "--force", "--annotate", "--message=moved", "model@v1.0.0", "main^")


def change_the_ledger(project: Path) -> None:
    registry = Registry(project)
    Ledger(registry).append("verdict", who="a", why="b", version="v1.0.0", commit=registry.find("v1.0.0").commit)
    head, raw = registry.head(), registry.read(LEDGER)
    assert head and raw
    forged = registry.commit({LEDGER: raw.replace(b'"who":"a"', b'"who":"c"', 1)}, "forged", base=head, parents=[head])
    assert registry.advance(forged, was=head)


def stored(project: Path, path: str) -> Path:
    """Return where the remote keeps an output, or a file of its folder."""
    with objects.opened(project) as found:
        name = next(name for name in outputs(project) if path == name or path.startswith(f"{name}/"))
        oid = found.files(outputs(project)[name], name)["." if path == name else path.removeprefix(f"{name}/")]
    return project.parent / "store/files/md5" / oid[:2] / oid[2:]


def change_the_remote(project: Path) -> None:
    place = stored(project, ARTIFACT)
    place.chmod(0o644)
    place.write_bytes(place.read_bytes() + b"\n")


def empty_the_remote(project: Path) -> None:
    stored(project, "data/raw.parquet").unlink()


def change_the_metrics(project: Path) -> None:
    registry = Registry(project)
    commit = registry.commit({"reports/metrics.json": b'{"accuracy": 1}\n'}, "better", base="main", parents=["main"])
    _release(project, commit)


def change_the_code(project: Path) -> None:
    registry, lock = Registry(project), (project / "dvc.lock").read_text()
    oid = objects.md5_of(project / "evergreen/config.py")
    commit = registry.commit({"dvc.lock": lock.replace(oid, oid[::-1]).encode()}, "with other code", base="main", parents=["main"])
    _release(project, commit)


def _release(project: Path, commit: str) -> None:
    """Put another commit in the place of v1.0.0, with a new ledger that knows it: only the record itself can tell."""
    git(project, "tag", "--delete", "model@v1.0.0")
    git(project, "update-ref", "-d", "refs/heads/evergreen/models")
    _register(project, commit, "v1.0.0")


TAMPERED = {
    move_the_tag: "cannot be believed: tag model@v1.0.0: it points to",
    change_the_ledger: "cannot be believed: line 2: the line before it is not the one that it was written after",
    change_the_remote: f"{ARTIFACT} is not what was recorded: the remote store",
    empty_the_remote: "data/raw.parquet is missing: the remote store",
    change_the_metrics: "reports/metrics.json in commit",
    change_the_code: "v1.0.0 was made with a evergreen/config.py that is another than that of its commit",
}


@pytest.mark.parametrize(("tamper", "words"), TAMPERED.items(), ids=lambda case: case.__name__ if callable(case) else "")
def test_what_somebody_has_touched_is_named_and_refused_before_anything_runs(
    version: Path, tamper: Callable[[Path], None], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reproduce, "_rebuild", None)
    tamper(version)
    with pytest.raises(EvergreenError) as refused:
        reproduce.reproduce.fn(version, "v1.0.0")
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not any(workspace.WORKTREES.iterdir()) if workspace.WORKTREES.exists() else True


def test_an_untouched_record_passes_all_checks(version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusals above are not refusals of everything."""
    reached = []

    def rebuilt(*_: object) -> dict[str, str]:
        reached.append(True)
        raise EvergreenError("far enough")

    monkeypatch.setattr(reproduce, "_rebuild", rebuilt)
    with pytest.raises(EvergreenError, match="far enough"):
        reproduce.reproduce.fn(version, "v1.0.0")
    assert reached


def test_another_machine_is_named_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    show(Comparison("v1.0.0", "m", "c" * 40, [], {"isa": ("AVX512", "AVX2")}, []), Console(width=100))
    assert "another machine: isa is AVX2 here, AVX512 on record" in capsys.readouterr().out
