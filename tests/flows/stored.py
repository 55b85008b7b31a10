"""A project of two stages, reproduced and committed: data that DVC keeps, small enough for a second."""

import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dvc.repo import Repo

from tests.project_factories import dvc, git

PIPELINE = """\
vars:
  - bento: build/bento
stages:
  package:
    cmd: sh build.sh --out bento=${bento}
    deps: [build.sh, given]
    outs:
      - ${bento}
      - reports/verdict.json
  snapshot:
    cmd: sh snapshot.sh --out reference=models/reference
    deps: [snapshot.sh, "${bento}"]
    outs: [models/reference]
artifacts:
  model: {path: "${bento}", type: model}
"""
SCRIPT = 'set -e\nmkdir -p build reports && rm -rf "${2#bento=}" && cp -R given "${2#bento=}"\necho \'{}\' > reports/verdict.json\n'
SNAPSHOT = 'mkdir -p "${2#reference=}" && find build -type f | sort | xargs md5sum > "${2#reference=}/table"\n'


@contextmanager
def opened(root: Path) -> Iterator[Repo]:
    """Open DVC's view of a folder; its own use of a deprecated call of pygtrie is none of ours."""
    with warnings.catch_warnings(), Repo(str(root)) as repo:
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="dvc")
        yield repo


def stored_project(root: Path, given: Path | None = None) -> Path:
    """Make the project; `given` is the folder that its stage takes for the Bento."""
    root.mkdir(parents=True)
    git(root, "init", "--quiet", "--initial-branch=main")
    dvc(root, "init", "--quiet")
    (root / "dvc.yaml").write_text(PIPELINE, encoding="utf-8")
    (root / "build.sh").write_text(SCRIPT, encoding="utf-8")
    (root / "snapshot.sh").write_text(SNAPSHOT, encoding="utf-8")
    (root / "data" / "source").mkdir(parents=True)
    (root / "data" / "source" / "a.csv").write_text("id,text\n1,one\n", encoding="utf-8")
    (root / "data" / "source" / "b.csv").write_text("id,text\n2,two\n", encoding="utf-8")
    dvc(root, "add", "--quiet", "data/source")
    return repackaged(root, given)


def repackaged(root: Path, given: Path | None = None) -> Path:
    """Run the stage on another Bento, and commit the result on the branch that is checked out."""
    folder = root / "given"
    shutil.rmtree(folder, ignore_errors=True)
    if given is None:
        (folder / "src").mkdir(parents=True)
        (folder / "src" / "one.txt").write_text("one", encoding="utf-8")
        (folder / "src" / "same.txt").write_text("one", encoding="utf-8")
        (folder / "run").write_text("two", encoding="utf-8")
    else:
        shutil.copytree(given, folder)
    dvc(root, "repro", "--quiet")
    (root / ".gitignore").write_text("/build\n/models\n/reports\n/given\n", encoding="utf-8")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message=packaged")
    return root
