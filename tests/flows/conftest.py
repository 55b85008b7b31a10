import os
import shutil
import tempfile
from pathlib import Path

import pytest

# Prefect makes its home when it is imported; a test run has one of its own and takes it away at the end.
_home = tempfile.TemporaryDirectory(prefix="prefect-")
os.environ["PREFECT_HOME"] = _home.name

from flows.making.produce import Candidate  # noqa: E402
from tests.loop_runs import begin, settle  # noqa: E402
from tests.project_factories import copied  # noqa: E402


@pytest.fixture(scope="session")
def loop_begun(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Candidate]:
    """Make, once, a folder with a project whose first version is live, and its home."""
    folder = tmp_path_factory.mktemp("begun")
    with pytest.MonkeyPatch.context() as patch:
        settle(folder, patch)
        return folder, begin(folder)


@pytest.fixture
def loop_first(loop_begun: tuple[Path, Candidate]) -> Candidate:
    """Return the first version of that project."""
    return loop_begun[1]


@pytest.fixture
def loop_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home of the test's own."""
    return settle(tmp_path, monkeypatch)


@pytest.fixture
def looped(loop_begun: tuple[Path, Candidate], tmp_path: Path, loop_home: Path) -> Path:
    """Return a copy of that project, with a copy of its home."""
    shutil.copytree(loop_begun[0] / "home", loop_home, dirs_exist_ok=True)
    return copied(loop_begun[0] / "project", tmp_path / "project")
