"""The demo's own parts; what it plays with has its tests elsewhere."""

import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest
import yaml

from demo.customers import Message, Sent, windows
from demo.outcome import compared
from demo.project import SETTINGS, Project
from evergreen.config import load_params
from tests.project_factories import git

ROOT = Path(__file__).parents[2]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A repository with this project's params.yaml."""
    root = tmp_path / "source"
    root.mkdir()
    (root / "params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text("", encoding="utf-8")
    (root / ".dvc" / ".gitignore").write_text("/config.local\n", encoding="utf-8")
    git(root, "init", "--quiet")
    git(root, "add", "--all")
    git(root, "-c", "user.name=A", "-c", "user.email=a@b", "commit", "--quiet", "--message=all")
    return root


def test_the_demo_works_on_a_clone_with_settings_that_params_yaml_can_have(source: Path, tmp_path: Path) -> None:
    project = Project(tmp_path / "demo", source)
    project.make()
    content = yaml.safe_load((project.root / "params.yaml").read_text(encoding="utf-8"))
    for place, value in SETTINGS.items():
        section, name = place.split(".")
        assert content[section][name] == value
    load_params(project.root / "params.yaml")
    assert git(project.root, "status", "--porcelain") == ""
    assert "Settings of the demo" not in git(source, "log", "--format=%s")
    (project.home / "logs").mkdir(parents=True)
    project.make()  # what an earlier one left goes
    assert not project.home.exists()


@pytest.mark.parametrize("where", [".", "..", "elsewhere"])
def test_a_folder_that_no_demo_has_made_is_left_alone(source: Path, where: str, tmp_path: Path) -> None:
    (tmp_path / "source" / "elsewhere").mkdir()
    (tmp_path / "source" / "elsewhere" / "thesis.txt").write_text("ten years of work")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit, match="holds files that no demo has made"):
        Project((source / where).resolve(), source).make()
    assert sorted(tmp_path.rglob("*")) == before


def test_the_environment_of_the_demo_has_nothing_of_an_outer_one(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    monkeypatch.setenv("EVERGREEN_LOG_URL", "postgresql:///somebodys")
    project = Project(tmp_path / "demo", source)
    found = {name: value for name, value in project.environment.items() if name.startswith(("PREFECT_", "EVERGREEN_"))}
    assert found == {"EVERGREEN_HOME": str(project.home)}


def test_every_message_is_in_one_window_and_windows_follow_one_another() -> None:
    begin = date(2025, 9, 1)
    messages = [Message(str(day), begin + timedelta(day), "words", "team", {}) for day in range(61)]
    parts = windows(messages, 14)
    assert [len(part) for part in parts] == [14, 14, 14, 19]  # what is left at the end belongs to the last
    assert [message for part in parts for message in part] == messages


def test_both_models_are_compared_on_messages_that_both_have_answered() -> None:
    sent = [Sent(Message(str(n), date(2025, 9, 1), "", "card", {"channel": "app" if n % 2 else "chat"}), str(n), "", "") for n in range(40)]
    old = {str(n): "card" if n < 10 else "loan" for n in range(40)}
    new = {str(n): "card" for n in range(38)}  # two came too late
    found = dict(compared(sent, old, new, ["channel"]))
    assert list(found) == ["all", "channel: app", "channel: chat"]
    assert (found["all"]["rows"], found["all"]["champion"]["value"], found["all"]["challenger"]["value"]) == (
        38,
        pytest.approx(10 / 38, abs=1e-6),
        1.0,
    )


def test_the_demo_refuses_a_folder_outside_of_git(tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-m", "demo"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "is no git repository" in done.stderr
