"""A release with a trial before it, in a service that runs: what holds goes live, what breaks a guardrail does not."""

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from evergreen.errors import ReleaseError
from evergreen.sections.loop import Release
from flows import release
from flows.bridge import objects, remote, workspace
from flows.commands import service, signing
from flows.releasing import ledger as ledger_module
from flows.releasing import overtaken, settle, trials
from tests.factories import keyword
from tests.flows.stored import repackaged, stored_project
from tests.project_factories import git
from tests.release_factories import bento_folder
from tests.serving.running import Running, running

TEXT = f"{keyword('card')} {keyword('card')} please"
SETTINGS = Release(
    automatic=True,
    trial="shadow",
    trial_minutes=0.2,
    trial_share=1.0,
    max_error_share=0.01,
    max_latency_ratio=50.0,
    max_person_share=0.15,
    keep_worktrees=False,
)
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    found = tmp_path_factory.mktemp("trial") / "home"
    with pytest.MonkeyPatch.context() as patch:
        for module in (objects, release, remote, settle, service, workspace):
            patch.setattr(module, "HOME", found)
        for module in (overtaken, settle, release):
            patch.setattr(module, "STATE", found / "release")
        for module in (signing, ledger_module, release):
            patch.setattr(module, "SIGNING", found / "signing")
        patch.setattr(ledger_module, "MEMORY", found / "signing" / "ledger.json")
        patch.setattr(trials, "SECONDS_BETWEEN", 0.3)
        patch.setenv("EVERGREEN_HOME", str(found))
        patch.delenv("EVERGREEN_LOG_URL", raising=False)
        yield found


@pytest.fixture(scope="module")
def project(home: Path) -> Path:
    """A project of three versions: the second as good as the first, the third unsure of everything."""
    folder = home.parent
    thresholds = (0.3, 0.4, 1.0)
    bentos = [bento_folder(folder / f"bento{number}", threshold=limit, verdict="PROMOTE") for number, limit in enumerate(thresholds)]
    root = stored_project(folder / "project", bentos[0])
    for bento in bentos[1:]:
        repackaged(root, bento)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        released(root, "HEAD~2")
    return root


@pytest.fixture(scope="module")
def live(project: Path, home: Path) -> Iterator[Running]:
    with running(home) as found:
        yield found


def released(root: Path, commit: str, settings: Release | None = None) -> release.Released:
    return release.release(root, commit, who="Ada", why="better", settings=settings, say=lambda words: None)


@contextmanager
def asked(live: Running, callers: int = 4) -> Iterator[None]:
    """Ask the service again and again while the block runs."""
    done = threading.Event()

    def ask() -> None:
        while not done.wait(0.01):
            assert live.post("/predict", {"text": TEXT})[0] == 200

    with ThreadPoolExecutor(callers) as pool:
        asking = [pool.submit(ask) for _ in range(callers)]
        try:
            yield
        finally:
            done.set()
    assert [one.exception() for one in asking] == [None] * callers


def version(root: Path) -> str:
    found = ledger_module.opened(root).registry.live()
    assert found is not None
    return found.name


def test_a_challenger_that_is_unsure_of_everything_is_ended_in_shadow_and_the_champion_stays(project: Path, live: Running) -> None:
    with asked(live):
        done = released(project, "HEAD", SETTINGS)
    assert not done.live
    assert "leaves 100% of the texts to a person" in done.words
    assert live.place.read().trial is None  # type: ignore[union-attr]
    assert version(project) == "v1.0.0"
    entry = ledger_module.opened(project).read()[-1]
    assert (entry.event, entry.version, entry.facts["verdict"]) == ("verdict", "v1.1.0", "HOLD")
    assert entry.facts["trial"]["broken"] == [done.words.split(": ", 1)[1]]


@pytest.mark.parametrize("first", [True, False], ids=["after its first answer", "at once"])
def test_a_canary_that_does_not_answer_is_ended_and_callers_never_notice(project: Path, live: Running, first: bool) -> None:
    def stopped() -> None:
        live.wait_for(lambda: (live.place.read() or live).trial is not None)  # type: ignore[union-attr]
        if first:
            live.wait_for(lambda: 'role="canary"' in live.get("/metrics")[1])
        for pid in live.pids(live.place.read().trial.release.version):  # type: ignore[union-attr]
            os.kill(pid, signal.SIGSTOP)

    thread = threading.Thread(target=stopped)
    thread.start()
    with asked(live, callers=8):
        done = released(project, "HEAD~1", SETTINGS.model_copy(update={"trial": "canary", "trial_minutes": 1.0 if first else 0.15}))
    thread.join()
    assert not done.live
    assert "by the challenger" in done.words or "it answered none of the" in done.words
    assert version(project) == "v1.0.0"


def test_a_rollback_does_not_wait_for_a_trial_and_ends_it(project: Path, live: Running) -> None:
    before = live.place.read()
    released(project, "HEAD~1")
    faults: list[BaseException] = []

    def release_the_other() -> None:
        try:
            released(project, "HEAD", SETTINGS.model_copy(update={"trial_minutes": 5.0}))
        except BaseException as fault:
            faults.append(fault)

    thread = threading.Thread(target=release_the_other)
    thread.start()
    live.wait_for(lambda: (live.place.read() or live).trial is not None)  # type: ignore[union-attr]
    release.roll_back(project, who="Bob", why="complaints", say=lambda words: None)
    thread.join()
    assert [type(fault) for fault in faults] == [ReleaseError]
    assert "somebody else changed what is live" in str(faults[0])
    after = live.place.read()
    assert before is not None and after is not None
    assert (after.champion, after.trial) == (before.champion, None)
    assert ledger_module.opened(project).read()[-1].event == "rollback"


def test_a_trial_left_by_a_killed_release_is_ended_by_the_next_run(project: Path, live: Running, home: Path) -> None:
    bento = live.place.bento(live.place.read().previous)  # type: ignore[union-attr]
    begun = trials.begin(live.place, bento, SETTINGS, lambda words: None)
    assert begun.trial is not None
    (home / "release" / "trial").write_text(begun.trial.release.digest)
    settle.settle(project, say=lambda words: None)
    assert live.place.read().trial is None  # type: ignore[union-attr]


def test_a_challenger_that_holds_goes_live_without_a_dropped_request(project: Path, live: Running) -> None:
    with asked(live):
        done = released(project, "HEAD~1", SETTINGS)
    assert done.live
    assert live.version() == done.version.model_version
    entry = ledger_module.opened(project).read()[-1]
    assert entry.event == "promotion"
    assert entry.facts["trial"]["broken"] == []
    assert entry.facts["trial"]["answers"] > 0
    assert git(project, "status", "--porcelain") == ""
