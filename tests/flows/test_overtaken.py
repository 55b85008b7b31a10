"""Releases that come by themselves, and what was decided meanwhile: nobody is overruled, and nothing is lost without a word."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evergreen.release.live import Place
from flows import release
from flows.release import Overtaken
from flows.releasing import ledger as ledger_module
from flows.releasing.settle import pending
from tests.flows.test_release import commits, home, lines, live, project, quiet, released, template
from tests.flows.test_tending import tending

__all__ = ["commits", "home", "project", "template", "tending"]


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What people are told."""
    told: list[str] = []
    monkeypatch.setattr(release, "announce", lambda ledger, title, body, say: told.append(f"{title}: {body}"))
    return told


def by_itself(root: Path, commit: str, **told: Any) -> release.Released:
    return release.release(root, commit, who="Evergreen", why="drift", awaited=True, say=quiet, **told)


def judged(root: Path, commit: str, champion: dict[str, str] | None) -> None:
    """Put a candidate that was judged against a champion on the ledger, with its PROMOTE."""
    ledger = ledger_module.opened(root)
    ledger.append("candidate", who="retrain", why="drift", commit=commit, facts={"champion": champion})
    ledger.append("verdict", who="gate", why="judged", commit=commit, model_version="m2", facts={"verdict": "PROMOTE"})


def test_what_was_live_before_the_verdict_and_was_found_after_it_overtakes_nothing(project: Path, home: Path, commits: list[str]) -> None:
    place = Place(home)
    place.write(replace(release._admitted(place, project / "given"), since="2025-10-09T08:00:00+00:00"))  # by hand, before any ledger
    assert by_itself(project, commits[1]).live
    assert lines(project) == [("found", None, "unknown"), ("promotion", "v1.0.0", "Evergreen")]


def test_a_release_that_waited_for_its_turn_does_not_overrule_what_was_decided_meanwhile(project: Path, commits: list[str]) -> None:
    released(project, commits[0])  # since the verdicts, by a person
    with pytest.raises(Overtaken, match="something else was decided"):
        by_itself(project, commits[1])
    assert lines(project) == [("promotion", "v1.0.0", "Ada")]


def test_a_challenger_is_left_to_a_person_once_where_its_champion_is_no_longer_live(
    project: Path, home: Path, commits: list[str], announced: list[str]
) -> None:
    first = released(project, commits[0]).version
    released(project, commits[1])
    second = ledger_module.opened(project).registry.find("v1.1.0")
    release.roll_back(project, who="Bob", why="complaints", say=quiet)  # during a training against v1.1.0
    judged(project, commits[2], {"version": second.name, "model_version": str(second.model_version)})
    with pytest.raises(
        Overtaken, match=rf"left to a person: it was judged against v1\.1\.0 .* and now model {first.model_version} is live"
    ):
        by_itself(project, commits[2])
    assert live(home) == first.model_version
    (told,) = announced
    assert told.startswith("model m2 is left to a person") and told.endswith(f"evergreen promote {commits[2][:12]}")
    assert pending(ledger_module.opened(project).read()) is None  # nobody tries again by itself
    assert ledger_module.opened(project).read()[-1].facts == {"verdict": "HOLD"}
    with pytest.raises(Overtaken, match="something else was decided"):
        by_itself(project, commits[2])
    assert len(announced) == 1


def test_a_challenger_of_the_live_version_goes_live(project: Path, commits: list[str]) -> None:
    first = released(project, commits[0]).version
    judged(project, commits[1], {"version": first.name, "model_version": str(first.model_version)})
    assert by_itself(project, commits[1]).live


def test_a_first_version_is_left_to_a_person_where_another_went_live_during_its_training(
    project: Path, commits: list[str], announced: list[str]
) -> None:
    released(project, commits[0])
    judged(project, commits[1], None)
    with pytest.raises(Overtaken, match="judged against nothing, and now"):
        by_itself(project, commits[1])
    assert len(announced) == 1
