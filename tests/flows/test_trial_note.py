"""The note that says which trial is a release's own: whatever it ends by, a trial that a person begins is not taken for it."""

from pathlib import Path

import pytest

from evergreen.release.live import Live, Place, Release, Trial, first
from flows.releasing import trials
from flows.releasing.trials import sweep, watched

CHAMPION, OURS, THEIRS = (Release(name, name, name * 8) for name in ("champion", "ours", "theirs"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = Place(tmp_path)
    found.write(first(CHAMPION))
    return found


@pytest.fixture
def ended(place: Place, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Have a service run that does what it is asked; return the trials that it was asked to end."""
    asked: list[object] = []

    def ask(where: Place, command: object, **_: object) -> None:
        asked.append(pointer(where).trial)
        where.write(pointer(where).trying(None))

    monkeypatch.setattr(trials, "running", lambda _: True)
    monkeypatch.setattr(trials, "ask", ask)
    return asked


def pointer(place: Place) -> Live:
    found = place.read()
    assert found is not None
    return found


def tried(place: Place, release: Release | None) -> None:
    place.write(pointer(place).trying(Trial(release, "shadow", 0.0) if release else None))


def quiet(words: str) -> None:
    """Say nothing."""


def test_after_a_release_that_failed_a_persons_own_trial_is_left_alone(place: Place, tmp_path: Path, ended: list[object]) -> None:
    with pytest.raises(RuntimeError), watched(tmp_path, place, OURS.digest):
        tried(place, OURS)
        tried(place, None)
        raise RuntimeError
    tried(place, OURS)  # the very same version, by hand
    sweep(tmp_path, place, quiet)
    assert ended == []


def test_after_a_release_that_was_killed_its_own_trial_is_ended_and_no_other(place: Place, tmp_path: Path, ended: list[object]) -> None:
    for on_trial in (THEIRS, OURS):
        (tmp_path / "trial").write_text(OURS.digest)
        tried(place, on_trial)
        sweep(tmp_path, place, quiet)
        assert not (tmp_path / "trial").exists()
    assert ended == [Trial(OURS, "shadow", 0.0)]


def test_a_trial_that_could_not_be_ended_is_ended_later(place: Place, tmp_path: Path, ended: list[object]) -> None:
    with pytest.raises(RuntimeError), watched(tmp_path, place, OURS.digest):
        tried(place, OURS)
        raise RuntimeError
    sweep(tmp_path, place, quiet)
    assert ended == [Trial(OURS, "shadow", 0.0)]
