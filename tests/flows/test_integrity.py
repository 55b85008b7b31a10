"""A flipped byte in DVC's cache, in an output or in a remote is found before it is used, and put right where anything has the bytes."""

import os
import shutil
from pathlib import Path

import pytest

from evergreen.errors import PipelineError
from flows.bridge import objects
from flows.bridge.objects import ObjectError, matches, opened, outputs_of
from flows.bridge.pipeline import changed
from tests.flows.test_pipeline import STAGE, project, through
from tests.project_factories import dvc

__all__ = ["project"]
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise:DeprecationWarning")
FOLDERS = STAGE + 'Path("many").mkdir(exist_ok=True)\n[Path(f"many/{n}.txt").write_text(n) for n in "ab"]\n'


@pytest.fixture(autouse=True)
def no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "HOME", tmp_path / "home")


def flip(path: Path) -> None:
    """Change one bit, as a dying disk does: size, mode and (for all that DVC looks at) time stay."""
    stat = path.stat()
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    path.chmod(stat.st_mode)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def cached(project: Path, path: str) -> Path:
    """Return where the cache keeps an output of `root`, or a file of its folder."""
    with opened(project) as found:
        out = next(out for out in outputs_of(project, "root") if path.startswith(out.path))
        return found.place(found.files(out.oid, path)[path.removeprefix(f"{out.path}/") if path != out.path else "."])


def with_folder(project: Path) -> Path:
    (project / "stage.py").write_text(FOLDERS)
    text = (project / "dvc.yaml").read_text()
    (project / "dvc.yaml").write_text(text.replace("outs: [root.txt]", "outs: [root.txt, many]"))
    through(project, "root")
    return project


def with_remote(project: Path) -> Path:
    dvc(project, "remote", "add", "--default", "store", str(project.parent / "store"))
    dvc(project, "push", "--quiet")
    return project


def test_a_flipped_byte_in_the_cache_is_not_restored_but_made_again(project: Path) -> None:
    through(project, "root")
    flip(cached(project, "root.txt"))
    (project / "root.txt").unlink()
    outcome, said = through(project, "root")
    assert (outcome, (project / "root.txt").read_text()) == ("ran", "good")
    assert "root.txt is lost: DVC's cache has no sound copy of it" in said[0]
    assert "the stage makes it again" in said[0]
    assert matches(cached(project, "root.txt"), outputs_of(project, "root")[0].oid)
    assert not changed(project, "root")


def test_dvc_alone_restores_the_flipped_byte(project: Path) -> None:
    """Why we hash: if this fails one day, DVC does it itself."""
    through(project, "root")
    flip(cached(project, "root.txt"))
    (project / "root.txt").unlink()
    dvc(project, "repro", "root")
    assert (project / "root.txt").read_text() != "good"
    assert "up to date" in dvc(project, "status", "root").stdout


@pytest.mark.parametrize("path", ["root.txt", "many/a.txt"])
def test_with_a_remote_the_bytes_come_from_there_and_nothing_runs(project: Path, path: str) -> None:
    with_remote(with_folder(project))
    wanted = (project / path).read_text()
    flip(cached(project, path))
    for out in ("root.txt", "many"):
        shutil.rmtree(project / out, ignore_errors=True)
        (project / out).unlink(missing_ok=True)
    assert through(project, "root") == ("restored", [f"  {path} was damaged, and is restored"])
    assert (project / path).read_text() == wanted
    assert not changed(project, "root")


def test_a_flipped_byte_in_an_output_that_dvc_takes_for_unchanged_is_put_right(project: Path) -> None:
    through(project, "root")
    flip(project / "root.txt")
    assert not changed(project, "root")
    assert through(project, "root") == ("unchanged", ["  root.txt was damaged, and is restored"])
    assert (project / "root.txt").read_text() == "good"


def test_a_damaged_list_of_a_folder_is_made_again(project: Path) -> None:
    with_folder(project)
    with opened(project) as found:
        place = found.place(next(out.oid for out in outputs_of(project, "root") if out.path == "many"))
    flip(place)
    assert through(project, "root")[0] == "ran"
    assert through(project, "root") == ("unchanged", [])


def test_a_remote_with_other_bytes_under_a_name_is_named_and_not_believed(project: Path) -> None:
    through(project, "root")
    with_remote(project)
    place = cached(project, "root.txt")
    remote = project.parent / "store" / place.relative_to(place.parents[3])
    flip(remote)
    place.unlink()
    with opened(project) as found:
        oid = outputs_of(project, "root")[0].oid
        with pytest.raises(ObjectError, match=rf"root.txt is not what was recorded: the remote store \(.*\) has other bytes under {oid}"):
            found.ensure(oid, "root.txt")
        assert not place.exists()
        remote.unlink()
        with pytest.raises(ObjectError, match=rf"root.txt is missing: the remote store .* has no object {oid}"):
            found.ensure(oid, "root.txt")


def test_lost_data_that_no_stage_makes_is_refused_with_what_to_do(project: Path) -> None:
    (project / "rows.csv").write_text("a,b\n1,2\n")
    dvc(project, "add", "rows.csv")
    assert through(project, "rows.csv.dvc") == ("unchanged", [])
    with opened(project) as found:
        flip(found.place(outputs_of(project, "rows.csv.dvc")[0].oid))
    (project / "rows.csv").unlink()
    with pytest.raises(PipelineError, match=r"rows.csv is lost: .* put the original back to rows.csv and run `dvc commit rows.csv.dvc`"):
        through(project, "rows.csv.dvc")
    (project / "rows.csv").write_text("a,b\n1,2\n")
    dvc(project, "commit", "--force", "rows.csv.dvc")
    assert through(project, "rows.csv.dvc") == ("unchanged", [])


def test_missing_data_comes_from_the_cache(project: Path) -> None:
    (project / "rows.csv").write_text("a,b\n1,2\n")
    dvc(project, "add", "rows.csv")
    (project / "rows.csv").unlink()
    assert through(project, "rows.csv.dvc") == ("restored", [])
    assert (project / "rows.csv").read_text() == "a,b\n1,2\n"
