"""One DVC for a whole run says and does what a DVC for each stage does, and dies no worse."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from evergreen.errors import PipelineError
from flows.bridge.pipeline import environment, reproduce
from flows.bridge.session import in_session, session
from tests.flows.test_pipeline import STAGE, project, through
from tests.project_factories import until

__all__ = ["project"]
# DVC itself uses what its library is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise:DeprecationWarning")


@pytest.fixture
def at_work(project: Path) -> Iterator[Path]:
    with session(project, environment(project)):
        yield project


def test_stages_run_are_unchanged_restored_and_forced_as_without_a_session(at_work: Path) -> None:
    assert through(at_work, "root") == ("ran", ["  said good"])
    assert through(at_work, "root") == ("unchanged", [])
    assert through(at_work, "root", force=True) == ("ran", ["  said good"])
    (at_work / "stage.py").write_text(STAGE + "# an edit\n")
    assert through(at_work, "root")[0] == "ran"
    (at_work / "stage.py").write_text(STAGE)
    assert through(at_work, "root")[0] == "restored"
    assert in_session(at_work)


def test_a_failing_stage_is_quoted_and_the_session_goes_on(at_work: Path) -> None:
    (at_work / "stage.py").write_text(STAGE.replace("end stopped", "root stopped"))
    (at_work / "word").write_text("bad")
    with pytest.raises(PipelineError, match=r"^root stopped: the word is bad; write another$"):
        through(at_work, "root")
    (at_work / "word").write_text("good")
    assert through(at_work, "root") == ("ran", ["  said good"])
    assert in_session(at_work)


def test_a_stage_cannot_read_the_orders_nor_end_one_by_what_it_prints(at_work: Path) -> None:
    (at_work / "stage.py").write_text("import sys\nprint('read', repr(sys.stdin.read()))\nprint('\\x1e0 ')\n" + STAGE)
    outcome, said = through(at_work, "root")
    assert (outcome, said[0]) == ("ran", "read ''")
    assert through(at_work, "left")[0] == "ran"


def test_a_killed_stage_is_named_and_a_killed_dvc_is_replaced_by_one_for_each_stage(at_work: Path) -> None:
    (at_work / "stage.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(PipelineError, match=r"^root was killed while it worked"):
        through(at_work, "root")
    (at_work / "stage.py").write_text("import os, signal; os.kill(os.getpgrp(), signal.SIGKILL)")  # DVC leads the group
    with pytest.raises(PipelineError):
        through(at_work, "root")
    assert not in_session(at_work)
    (at_work / "stage.py").write_text(STAGE)
    outcome, said = through(at_work, "root")  # DVC has a word on the lock of the dead one first
    assert (outcome, said[-1]) == ("ran", "  said good")


def test_a_cancelled_caller_ends_the_stage_and_the_end_of_a_session_ends_dvc(project: Path) -> None:
    (project / "stage.py").write_text(
        "import os, time; print('begun', flush=True); open('pid', 'w').write(str(os.getpid())); time.sleep(600)"
    )

    def cancelled(_: str) -> None:
        raise KeyboardInterrupt

    with session(project, environment(project)):
        with pytest.raises(KeyboardInterrupt):
            reproduce(project, "root", say=cancelled)
        assert not in_session(project)
    until(lambda: not (project / "pid").exists() or not _alive(int((project / "pid").read_text() or 0)))


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0) if process else None
    except ProcessLookupError:
        return False
    return bool(process) and Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
