"""Releases that are killed, refused or waited for, and what the next run makes of them."""

import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from evergreen.errors import RegistryError, ReleaseError
from evergreen.release.live import Place
from evergreen.release.registry import Registry
from evergreen.release.signing import read_trusted
from flows import release
from flows.bridge import remote
from flows.releasing import ledger as ledger_module
from flows.releasing import settle
from flows.releasing.permission import Override
from tests.flows.test_release import ROOT, commits, home, lines, live, project, quiet, released, sound, template
from tests.project_factories import git, until
from tests.release_factories import bento_folder

__all__ = ["commits", "home", "project", "template"]


class Killed(BaseException):
    """The process ends here."""


def sound_until_told(root: Path, home: Path) -> bool:
    """Say whether tags and ledger agree but for what has happened and is still to be told of, as `evergreen ledger verify` asks."""
    ledger = ledger_module.opened(root)
    return ledger.verify(read_trusted(home / "signing"), partial(settle.commit_untold, ledger)) == []


@pytest.mark.parametrize("point", ["sign", "intent", "swap", "name", "assign", "append"])
def test_a_release_killed_at_any_step_is_told_to_its_end_by_the_next_run(
    project: Path, home: Path, commits: list[str], point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    released(project, commits[0])
    at = {
        "sign": (release, "_sign"),
        "intent": (release, "swapped"),
        "swap": (release, "settled"),
        "name": (Registry, "assign"),
        "assign": (settle.Ledger, "append"),
        "append": (type(settle.intents()), "clear"),
    }[point]
    real = getattr(*at)
    calls = []

    def killed(*given: object, **told: object) -> object:
        calls.append(given)
        if (point == "swap" and len(calls) == 1) or (point == "append" and len(calls) == 1):
            return real(*given, **told)  # once before it is the moment
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(*at, killed)
        with pytest.raises(Killed):
            released(project, commits[1], who="Bob")
    assert sound_until_told(project, home)
    settle.settle(project, say=quiet)
    assert sound(project, home)
    done = point in ("swap", "name", "assign", "append")
    told = [("promotion", "v1.0.0", "Ada"), ("promotion", "v1.1.0", "Bob")]
    assert lines(project) == (told if done else told[:1])
    registry = ledger_module.opened(project).registry
    assert live(home) == registry.find("v1.1.0" if done else "v1.0.0").model_version
    assert settle.settle(project, say=quiet) == []
    released(project, commits[1], who="Bob")
    assert lines(project) == told
    assert registry.live() == registry.find("v1.1.0")
    assert len(registry.git.tags("model#prod#*")) == 2
    assert list((home / "release" / "bento").iterdir()) == []
    assert sound(project, home)


@pytest.mark.parametrize("point", ["assign", "append"])
def test_going_back_killed_beside_its_tag_is_sound_and_a_forged_tag_then_is_not(
    project: Path, home: Path, commits: list[str], point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise Killed

    released(project, commits[0])
    released(project, commits[1])
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(*{"assign": (Registry, "assign"), "append": (settle.Ledger, "append")}[point], killed)
        release.roll_back(project, who="Bob", why="complaints", say=quiet)
    assert sound_until_told(project, home)
    assert sound(project, home) == (point == "assign")  # for whoever does not know what is live, a tag is there before its line
    registry = ledger_module.opened(project).registry
    registry.assign(registry.find("v1.1.0"))
    assert not sound_until_told(project, home)


def test_what_was_changed_by_hand_and_is_not_found_yet_is_sound(project: Path, home: Path, commits: list[str]) -> None:
    released(project, commits[0])
    released(project, commits[1])
    place = Place(home)
    pointer = place.read()
    assert pointer is not None
    for _ in range(3):
        pointer = pointer.rolled_back()
        place.write(pointer)
        assert sound_until_told(project, home)
        assert len(settle.settle(project, say=quiet)) == 1
        assert sound(project, home)
    place.write(release._admitted(place, bento_folder(home / "unknown", threshold=0.33)))  # no version of the registry
    assert sound_until_told(project, home)
    settle.settle(project, say=quiet)
    place.write(pointer)
    settle.settle(project, say=quiet)  # what the tags say already: told once more, without a tag
    assert sound(project, home)
    assert len(ledger_module.opened(project).registry.git.tags("model#prod#*")) == 5


def test_a_swap_that_is_refused_leaves_no_name_that_the_ledger_does_not_know(
    project: Path, home: Path, commits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise ReleaseError("the service does not take it")

    released(project, commits[0])
    with monkeypatch.context() as patch, pytest.raises(ReleaseError, match="does not take it"):
        patch.setattr(release, "swapped", refused)
        released(project, commits[1])
    assert sound(project, home)
    assert [version.name for version in ledger_module.opened(project).registry.versions()] == ["v1.0.0"]
    assert released(project, commits[1]).version.name == "v1.1.0"
    assert sound(project, home)


def test_what_was_live_before_it_had_a_commit_gets_its_name_when_it_is_promoted(project: Path, home: Path, commits: list[str]) -> None:
    place = Place(home)
    place.write(release._admitted(place, project / "given"))
    settle.settle(project, say=quiet)
    assert released(project, commits[2], override=Override("Ada", "needed", time.time() + 3600)).version.name == "v1.0.0"
    assert [event for event, _, _ in lines(project)] == ["found", "override", "promotion"]
    assert sound(project, home)


def test_what_a_release_made_live_that_nobody_waited_for_gets_its_name_when_it_is_found(
    project: Path, home: Path, commits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*_: object) -> None:
        raise ReleaseError("the service says nothing")

    released(project, commits[0])
    candidate = release._about(remote.fetch(project, commits[1], "build/bento", home / "seen"))
    ledger_module.opened(project).append("candidate", who="retrain", why="w", commit=commits[1], model_version=candidate.model_version)
    with monkeypatch.context() as patch, pytest.raises(ReleaseError, match="says nothing"):
        patch.setattr(release, "swapped", late)
        released(project, commits[1])
    settle.intents().clear()  # it has become too old
    place = Place(home)
    place.write(release._admitted(place, home / "seen"))  # and the service has done it after all
    (found,) = settle.settle(project, say=quiet)
    assert (found.event, found.version, found.commit) == ("found", "v1.1.0", commits[1])
    assert sound(project, home)


def test_what_was_changed_by_hand_is_found_with_the_moment_it_happened(project: Path, home: Path, commits: list[str]) -> None:
    released(project, commits[0])
    released(project, commits[1])
    place = Place(home)
    pointer = place.read()
    assert pointer is not None
    place.write(pointer.rolled_back())
    found = settle.settle(project, say=quiet)
    assert [(entry.event, entry.version, entry.who) for entry in found] == [("found", "v1.0.0", "unknown")]
    assert found[0].since <= time.time()
    registry = ledger_module.opened(project).registry
    assert registry.live() == registry.find("v1.0.0")
    assert settle.settle(project, say=quiet) == []


def test_what_was_live_before_there_was_a_registry_is_its_first_line(template: Path, project: Path, home: Path, tmp_path: Path) -> None:
    git(project, "update-ref", "-d", "refs/heads/evergreen/models")
    place = Place(home)
    place.write(release._admitted(place, bento_folder(tmp_path / "own", threshold=0.55)))
    first = live(home)
    released(project, "HEAD~2")
    entries = ledger_module.opened(project).read()
    assert [(entry.event, entry.model_version == first, entry.commit is None) for entry in entries] == [
        ("found", True, True),
        ("promotion", False, False),
    ]
    assert sound(project, home)


def test_going_back_does_not_wait_for_a_download_that_hangs(
    project: Path, home: Path, commits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    released(project, commits[0])
    released(project, commits[1])
    hangs, goes_on, real = threading.Event(), threading.Event(), release.fetch

    def slow(*given: Any) -> Path:
        hangs.set()
        assert goes_on.wait(60)
        return real(*given)

    monkeypatch.setattr(release, "fetch", slow)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(released, project, commits[1], event="rollback")
        try:
            assert hangs.wait(60)
            release.roll_back(project, who="Bob", why="complaints", say=quiet)
        finally:
            goes_on.set()
        assert other.result().live
    assert [(event, version) for event, version, _ in lines(project)[2:]] == [("rollback", "v1.0.0"), ("rollback", "v1.1.0")]


def test_who_has_to_wait_is_told_for_whom(home: Path) -> None:
    said: list[str] = []

    def wait() -> None:
        with settle.alone("a rollback", said.append):
            pass

    with ThreadPoolExecutor(1) as pool:
        with settle.alone("a promotion of 0123", quiet):
            other = pool.submit(wait)
            until(lambda: said)
        other.result()
    assert said == [f"waiting for process {os.getpid()} (a promotion of 0123): one change of what is live at a time"]


def test_people_are_told_when_others_may_go_on(project: Path, commits: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy2(ROOT / "params.yaml", project)
    told, waited = [], []

    def notify(settings: object, event: str, title: str, *_: object, **__: object) -> None:
        told.append(title)
        with settle.alone("a look", waited.append):
            pass

    monkeypatch.setattr("flows.notify.notify", notify)
    released(project, commits[0])
    assert (told, waited) == (["v1.0.0 is live"], [])


def test_where_git_cannot_be_written_going_back_works_and_is_told_later(project: Path, home: Path, commits: list[str]) -> None:
    released(project, commits[0])
    released(project, commits[1])
    git(project, "worktree", "add", "--quiet", str(project.with_name("look")), "evergreen/models")
    said: list[str] = []
    release.roll_back(project, who="Bob", why="complaints", say=said.append)
    assert "the ledger will be told by the next run" in "\n".join(said)
    assert live(home) == ledger_module.opened(project).registry.find("v1.0.0").model_version
    git(project, "worktree", "remove", "--force", str(project.with_name("look")))
    assert [(entry.event, entry.who) for entry in settle.settle(project, say=quiet)] == [("rollback", "Bob")]


def test_where_the_registry_cannot_be_used_going_back_is_told_later_with_who_and_why(
    project: Path, home: Path, commits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(root: Path) -> None:
        raise RegistryError("git does not answer")

    released(project, commits[0])
    released(project, commits[1])
    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(release, "used", away)
        release.roll_back(project, who="Bob", why="complaints", say=said.append)
    assert "the ledger will be told by the next run" in "\n".join(said)
    (told,) = settle.settle(project, say=quiet)
    assert (told.event, told.who, told.why, told.version, told.commit) == ("rollback", "Bob", "complaints", "v1.0.0", commits[0])
    registry = ledger_module.opened(project).registry
    assert registry.live() == registry.find("v1.0.0")
    assert sound(project, home)


def test_without_a_registry_going_back_still_works(project: Path, home: Path, tmp_path: Path) -> None:
    place = Place(home)
    for number in range(2):
        bento = bento_folder(tmp_path / f"own{number}", threshold=0.5 + number / 10)
        place.write(release._admitted(place, bento))
    before = place.read()
    release.roll_back(tmp_path, who="Ada", why="x", say=quiet)
    assert before is not None
    assert before.previous is not None
    assert live(home) == before.previous.version
    assert settle.settle(tmp_path, say=quiet) == []
