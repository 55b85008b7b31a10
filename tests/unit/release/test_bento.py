"""BentoML's build fetches nothing; what it builds is tried in tests/stages/test_package.py."""

import subprocess
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from evergreen.release import bento

ROOT = Path(__file__).parents[3]


def test_a_build_may_not_fetch_the_tool_that_it_looks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, str] = {}

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        given.update(options["env"])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(bento.subprocess, "run", run)
    bento._run_build(tmp_path, SimpleNamespace(version="1"), tmp_path / "state")
    assert given["PIP_NO_INDEX"] == given["UV_OFFLINE"] == "1"


def test_that_tool_is_installed_with_what_trains() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert "uv" in extras["train"]
