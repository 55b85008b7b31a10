"""What is seen to between runs: a PROMOTE that a killed run has left, a release that fails, an override that has ended."""

import shutil
import time
from pathlib import Path

import pytest

from evergreen.params_file import edit_params
from flows.release import roll_back
from flows.releasing import ledger as ledger_module
from flows.releasing import settle
from flows.releasing.permission import Override
from flows.running.tending import Tending
from tests.flows.test_release import ROOT, commits, home, lines, project, quiet, released, template  # noqa: F401


@pytest.fixture
def tending(project: Path) -> Tending:  # noqa: F811
    shutil.copy2(ROOT / "params.yaml", project)
    return Tending(project, patience=0)


def test_a_promote_that_was_left_is_released_once(tending: Tending, commits: list[str]) -> None:  # noqa: F811
    tending.attend(quiet)
    tending.attend(quiet)
    assert lines(tending.root) == [("promotion", "v1.0.0", "Evergreen")]
    assert ledger_module.opened(tending.root).registry.find("v1.0.0").commit == commits[1]


def test_a_run_that_may_still_be_at_it_is_given_time(tending: Tending, commits: list[str]) -> None:  # noqa: F811
    tending.patience = 3600
    tending.attend(quiet)
    assert lines(tending.root) == []


def test_where_a_person_decides_it_waits(tending: Tending, commits: list[str]) -> None:  # noqa: F811
    edit_params(tending.root / "params.yaml", {"release.automatic": False})
    tending.attend(quiet)
    assert lines(tending.root) == []


def test_what_was_rolled_back_is_not_released_again(tending: Tending, commits: list[str]) -> None:  # noqa: F811
    released(tending.root, commits[0])
    verdict = {"who": "gate", "why": "judged", "commit": commits[1], "facts": {"verdict": "PROMOTE"}}
    ledger_module.opened(tending.root).append("verdict", **verdict)
    tending.attend(quiet)
    roll_back(tending.root, who="Bob", why="complaints", say=quiet)
    tending.attend(quiet)
    told = [("promotion", "v1.0.0", "Ada"), ("verdict", None, "gate"), ("promotion", "v1.1.0", "Evergreen"), ("rollback", "v1.0.0", "Bob")]
    assert lines(tending.root) == told


def test_a_release_that_fails_is_told_once_and_not_tried_at_every_round(tending: Tending, commits: list[str]) -> None:  # noqa: F811
    shutil.rmtree(tending.root / ".dvc" / "cache")
    said: list[str] = []
    tending.attend(said.append)
    tending.attend(said.append)
    assert len([words for words in said if "the release of model" in words]) == 1
    tending.not_before = 0.0
    tending.attend(said.append)
    assert list(tending.failures.values()) == [2]
    assert len([words for words in said if "the release of model" in words]) == 1


def test_the_end_of_an_override_is_told_once_and_changes_nothing(tending: Tending, commits: list[str]) -> None:  # noqa: F811
    until = time.time() + 3600
    released(tending.root, commits[2], override=Override("Ada", "needed", until))
    said: list[str] = []
    tending.attend(said.append)
    assert said == []
    tending.clock = lambda: until + 1
    tending.attend(said.append)
    tending.attend(said.append)
    assert [words.partition(":")[0] for words in said] == ["v1.0.0 is live on an override that has ended"]
    assert lines(tending.root)[-1] == ("promotion", "v1.0.0", "Ada")


def test_without_a_registry_there_is_nothing_to_do(tmp_path: Path, home: Path) -> None:  # noqa: F811
    Tending(tmp_path, patience=0).attend(quiet)
    assert settle.settle(tmp_path, say=quiet) == []
