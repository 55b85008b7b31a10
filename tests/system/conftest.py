from pathlib import Path

import pytest

import tests.flows.conftest  # noqa: F401  Prefect's home, before anything imports Prefect
from tests.project_factories import DVC, command, copied, git, small_project
from tests.system.network import NO_NETWORK, guarded


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project after its first `dvc repro`, which ran without a network. Read it; change only copies of it."""
    folder = small_project(tmp_path_factory.mktemp("finished") / "project")
    command(folder, *NO_NETWORK, *DVC, "repro", **guarded(folder))
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=The first model")
    return folder


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    """A finished project to do with as one likes."""
    return copied(finished, tmp_path / "project")
