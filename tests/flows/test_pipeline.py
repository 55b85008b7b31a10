"""The bridge to DVC, tried on a small pipeline of its own: `left` and `right` wait for `root`, `end` for both."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from evergreen.errors import PipelineError
from flows.bridge.pipeline import changed, read_pipeline, reproduce
from tests.project_factories import DVC, dvc, until

# DVC itself uses what its library is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise:DeprecationWarning")
STAGE = """
import sys
from pathlib import Path
word = Path("word").read_text()
print("  said", word, flush=True)
if word == "bad":
    print("\\nend stopped: the word is bad; write another", file=sys.stderr)
    sys.exit(1)
if word == "broken":
    raise RuntimeError("not foreseen")
for argument in sys.argv[1:]:
    if "=" in argument:
        Path(argument.partition("=")[2]).write_text(word)
"""
PIPELINE = """
stages:
  root:
    cmd: python stage.py --out made=root.txt
    deps: [stage.py]
    outs: [root.txt]
  right:
    cmd: python stage.py --in root=root.txt --out made=right.txt page=right.md --record right.json
    deps: [root.txt]
    outs: [right.txt, right.md]
  left:
    cmd: cp root.txt left.txt
    deps: [root.txt]
    outs: [left.txt]
  end:
    cmd: python stage.py --out made=end.txt
    deps: [left.txt, right.txt, word]
    outs: [end.txt]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    folder = tmp_path / "project"
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc" / "config").write_text("[core]\n    analytics = false\n    check_update = false\n    no_scm = true\n")
    (folder / "dvc.yaml").write_text(PIPELINE)
    (folder / "stage.py").write_text(STAGE)
    (folder / "word").write_text("good")
    return folder


def through(project: Path, stage: str, **options: bool) -> tuple[str, list[str]]:
    said: list[str] = []
    return reproduce(project, stage, say=said.append, **options), said


def test_stages_come_in_an_order_that_waits_and_else_as_dvc_yaml_lists_them(project: Path) -> None:
    plan = read_pipeline(project)
    assert plan.order == ["root", "right", "left", "end"]


def test_outputs_are_known_by_the_names_that_commands_give_them(project: Path) -> None:
    plan = read_pipeline(project)
    assert plan.outputs["right"] == {"made": Path("right.txt"), "page": Path("right.md")}
    assert plan.output("end", "made") == Path("end.txt")
    assert plan.outputs["left"] == {}


def test_a_broken_pipeline_is_refused_with_dvcs_words(project: Path) -> None:
    (project / "dvc.yaml").write_text("stages: [")
    with pytest.raises(PipelineError, match="DVC cannot read the pipeline"):
        read_pipeline(project)


def test_a_stage_runs_once_then_is_unchanged_and_is_restored_after_a_step_back(project: Path) -> None:
    assert through(project, "root") == ("ran", ["  said good"])
    assert through(project, "root") == ("unchanged", [])
    (project / "stage.py").write_text(STAGE + "# an edit\n")
    assert changed(project, "root")
    assert through(project, "root")[0] == "ran"
    (project / "stage.py").write_text(STAGE)
    assert through(project, "root")[0] == "restored"
    assert not changed(project, "root")
    assert changed(project, "end")
    assert changed(project)


def test_force_runs_what_has_not_changed(project: Path) -> None:
    through(project, "root")
    assert through(project, "root", force=True) == ("ran", ["  said good"])


def failing(project: Path, stage: str) -> tuple[str, list[str]]:
    said: list[str] = []
    with pytest.raises(PipelineError) as failure:
        reproduce(project, stage, say=said.append)
    return str(failure.value), said


def test_a_stage_that_stops_is_quoted_once(project: Path) -> None:
    (project / "stage.py").write_text(STAGE.replace("end stopped", "root stopped"))
    (project / "word").write_text("bad")
    assert failing(project, "root") == ("root stopped: the word is bad; write another", ["  said bad"])


def test_a_stage_that_breaks_shows_its_traceback_once_and_is_named_with_its_last_line(project: Path) -> None:
    (project / "word").write_text("broken")
    words, said = failing(project, "root")
    assert words == "root broke: RuntimeError: not foreseen (its traceback is above)"
    assert said[1].startswith("Traceback")
    assert said[-1] == "RuntimeError: not foreseen"


def test_a_killed_stage_is_said_to_have_been_killed(project: Path) -> None:
    (project / "stage.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert failing(project, "root")[0].startswith("root was killed while it worked")


def test_a_stage_that_is_silent_is_told_of_in_dvcs_words(project: Path) -> None:
    (project / "stage.py").write_text("import sys; sys.exit(7)")
    assert "failed to reproduce 'root': failed to run: python stage.py --out made=root.txt, exited with 7" in failing(project, "root")[0]


def test_a_stage_that_another_run_holds_is_refused_with_the_others_number(project: Path) -> None:
    (project / "stage.py").write_text("import time; open('begun', 'w').close(); time.sleep(600)")
    first = subprocess.Popen([*DVC, "repro", "root"], cwd=project, start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        until((project / "begun").exists)
        said = f"another run is at work in this folder (process {first.pid}); let it end, or end it, then run again"
        assert failing(project, "root")[0] == said
        with pytest.raises(PipelineError) as forced:
            through(project, "root", force=True)
        assert str(forced.value) == said
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()


def test_a_file_that_dvc_tracks_is_a_step_of_the_pipeline_too(project: Path) -> None:
    (project / "table.csv").write_text("a,b\n")
    dvc(project, "add", "--quiet", "table.csv")
    assert read_pipeline(project).order[0] == "table.csv.dvc", "what no stage makes is brought before any stage runs"
    assert through(project, "table.csv.dvc") == ("unchanged", [])


def test_a_date_without_quotes_is_refused_with_what_to_do(project: Path) -> None:
    (project / "params.yaml").write_text("since: 2025-09-01\n")
    with pytest.raises(PipelineError, match=r"type 'date'.*a date must stand in quotes"):
        read_pipeline(project)
