"""Releases that come by themselves, and what was decided meanwhile: nobody is overruled, and nothing is lost without a word."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evergreen.release.live import Live, Place, Trial
from evergreen.sections.loop import Release
from flows import release
from flows.releasing import ledger as ledger_module
from flows.releasing import overtaken, trials
from flows.releasing.overtaken import Overtaken
from flows.releasing.settle import pending
from tests.flows.test_release import commits, home, lines, live, project, quiet, released, template
from tests.flows.test_tending import tending

__all__ = ["commits", "home", "project", "template", "tending"]
SETTINGS = Release.model_validate(
    {
        "automatic": True, "trial": "shadow", "trial_minutes": 1.0, "trial_share": 1.0, "max_error_share": 0.01,
        "max_latency_ratio": 2.0, "max_person_share": 0.1, "keep_worktrees": False,
    }
)  # fmt: skip


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What people are told."""
    told: list[str] = []
    monkeypatch.setattr(overtaken, "announce", lambda ledger, title, body, say: told.append(f"{title}: {body}"))
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


def test_whoever_comes_second_with_the_same_release_is_told_that_it_is_live(project: Path, commits: list[str]) -> None:
    by_itself(project, commits[1])
    with pytest.raises(Overtaken, match="is live already: another run has released it"):
        by_itself(project, commits[1])


def test_the_trial_of_another_version_is_waited_for_and_ones_own_is_anothers_work(
    project: Path, home: Path, commits: list[str], tending: Any
) -> None:
    digest = release._about(project / "given").digest
    with trials.watched(home / "release", Place(home), digest), pytest.raises(Overtaken, match="waits until the trial of another version"):
        by_itself(project, commits[1])
    own = release._about(release.fetch(project, commits[1], "build/bento", home / "seen")).digest
    with trials.watched(home / "release", Place(home), own), pytest.raises(Overtaken, match="is being released by another run"):
        by_itself(project, commits[1])
    tending.attend(quiet)
    assert lines(project) == [("promotion", "v1.0.0", "Evergreen")]


def test_what_was_judged_during_the_trial_of_a_version_that_goes_live_is_left_to_a_person(
    project: Path, home: Path, commits: list[str], announced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    released(project, commits[0])

    def begin(place: Place, bento: Path, *_: object) -> Live:
        admitted, before = place.admit(bento), place.read()
        assert before is not None
        place.write(before.trying(Trial(admitted, "shadow", 0.0)))
        return place.read() or before

    def watch(*_: object) -> trials.Outcome:
        judged(project, commits[2], None)
        return trials.Outcome()

    monkeypatch.setattr(release, "running", lambda place: True)
    for name, done in {"begin": begin, "watch": watch, "end": lambda *_: True}.items():
        monkeypatch.setattr(trials, name, done)
    assert released(project, commits[1], settings=SETTINGS).live
    told = [(event, version) for event, version, _ in lines(project)[1:]]
    assert told == [("candidate", None), ("verdict", None), ("promotion", "v1.1.0"), ("verdict", None)]
    assert announced[0].startswith("model m2 is left to a person: it was judged during the trial of v1.1.0, which went live")
