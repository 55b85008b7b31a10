"""What surrounds every stage: all or nothing, one at a time, the message alone for a fault, the traceback for a bug."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evergreen.errors import DataError
from evergreen.reports import read_report
from stages import _run

ROOT = Path(__file__).parents[2]
ARGUMENTS = ["--in", "source=in.txt", "--out", "table=out/table.txt", "folder=out/folder", "--record", "runs/sample.json"]
SAMPLE = """
import sys, time
from pathlib import Path
from stages._run import main

def sample(params, inputs, outputs):
    outputs.table.write_text("half")
    outputs.folder.mkdir()
    (outputs.folder / "a").write_text("half")
    print("writing", flush=True)
    while not Path("go").exists():
        time.sleep(0.02)
    outputs.table.write_text("new")
    (outputs.folder / "b").write_text("new")

main(sample)
"""


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVERGREEN_HOME", "state")
    monkeypatch.setattr(_run, "die_with_parent", lambda: None)  # the tests' own process may outlive its parent
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    (tmp_path / "in.txt").write_text("in")
    (tmp_path / "sample_stage.py").write_text(SAMPLE)


def sample(params, inputs, outputs):
    outputs.table.write_text(f"{inputs.source.read_text()} {params.split.seed}")
    outputs.folder.mkdir()
    (outputs.folder / "a").write_text("new")


def earlier_outputs():
    Path("out/folder").mkdir(parents=True)
    Path("out/table.txt").write_text("old")
    Path("out/folder/z").write_text("old")


def present():
    return {str(path): path.read_text() for path in sorted(Path("out").rglob("*")) if path.is_file()}


OLD = {"out/folder/z": "old", "out/table.txt": "old"}
NEW = {"out/folder/a": "new", "out/table.txt": "in 17"}


def spawn():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "sample_stage.py", *ARGUMENTS]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def read_until(process, words):
    line = process.stdout.readline()
    assert words in line, line + process.stderr.read()


def test_outputs_appear_under_their_names_with_a_record(tmp_path):
    _run.main(sample, ARGUMENTS)
    assert present() == NEW
    assert read_report(Path("runs/sample.json"))["stage"] == "sample"


def test_a_new_folder_replaces_the_old_one_whole():
    earlier_outputs()
    _run.main(sample, ARGUMENTS)
    assert present() == NEW


@pytest.mark.parametrize("fault", [DataError("no rows"), ZeroDivisionError("bug"), KeyboardInterrupt()], ids=["fault", "bug", "interrupt"])
@pytest.mark.parametrize("earlier", [False, True])
def test_a_runner_that_fails_midway_leaves_the_old_outputs_or_none(fault, earlier):
    if earlier:
        earlier_outputs()

    def failing(*arguments):
        sample(*arguments)
        raise fault

    with pytest.raises((SystemExit, ZeroDivisionError, KeyboardInterrupt)):
        _run.main(failing, ARGUMENTS)
    assert present() == (OLD if earlier else {})
    assert not Path("runs/sample.json").exists()


def test_an_output_that_the_runner_forgot_leaves_the_old_ones():
    earlier_outputs()
    with pytest.raises(FileNotFoundError):
        _run.main(lambda params, inputs, outputs: outputs.table.write_text("new"), ARGUMENTS)
    assert present() == OLD


def test_what_a_runner_returns_is_called_once_its_outputs_have_their_names():
    seen = []

    def leaving(*arguments):
        sample(*arguments)
        return lambda: seen.append(present())

    earlier_outputs()
    _run.main(leaving, ARGUMENTS)
    assert seen == [NEW]


def test_what_a_runner_returns_is_not_called_when_an_output_cannot_take_its_name():
    seen = []

    def forgetful(params, inputs, outputs):
        outputs.table.write_text("new")
        return lambda: seen.append("called")

    with pytest.raises(FileNotFoundError):
        _run.main(forgetful, ARGUMENTS)
    assert seen == []


def test_a_fault_ends_with_status_one_and_its_message_alone(capsys):
    def failing(*_):
        raise DataError("no rows in in.txt; give another file")

    with pytest.raises(SystemExit) as ended:
        _run.main(failing, ARGUMENTS)
    assert ended.value.code == 1
    assert capsys.readouterr().err == "\nfailing stopped: no rows in in.txt; give another file\n"


def test_a_wrong_knob_is_a_fault_too(capsys):
    Path("params.yaml").write_text("ingest: 3\n")
    with pytest.raises(SystemExit) as ended:
        _run.main(sample, ARGUMENTS)
    assert ended.value.code == 1
    assert "sample stopped: params.yaml" in capsys.readouterr().err
    assert present() == {}


def test_a_bug_keeps_its_traceback():
    def failing(*_):
        raise ZeroDivisionError("bug")

    with pytest.raises(ZeroDivisionError, match="bug"):
        _run.main(failing, ARGUMENTS)


@pytest.mark.parametrize("earlier", [False, True])
def test_a_stage_killed_midway_leaves_the_old_outputs_or_none_and_the_next_run_clears_up(earlier):
    if earlier:
        earlier_outputs()
    process = spawn()
    read_until(process, "writing")
    process.kill()
    process.communicate()
    named = {path: content for path, content in present().items() if ".partial" not in path}
    assert named == (OLD if earlier else {})
    assert len(present()) > len(named), "the kill came before anything was written"
    _run.main(sample, ARGUMENTS)
    assert present() == NEW


def test_a_second_run_says_that_it_waits_and_goes_on_when_the_first_has_ended():
    first = spawn()
    read_until(first, "writing")
    second = spawn()
    read_until(second, "another run of sample is at work here; waiting for it to end")
    assert second.poll() is None
    Path("go").touch()
    for process in (first, second):
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert present() == {"out/folder/a": "half", "out/folder/b": "new", "out/table.txt": "new"}


def test_a_killed_runs_lock_is_free_at_once():
    process = spawn()
    read_until(process, "writing")
    process.kill()
    process.communicate()
    _run.main(sample, ARGUMENTS)
    assert present() == NEW


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_stage_dies_with_the_process_that_started_it():
    command = f"[sys.executable, 'sample_stage.py', *{ARGUMENTS!r}]"
    script = f"import subprocess, sys, time; print(subprocess.Popen({command}).pid, flush=True); time.sleep(600)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True)
    stage = int(parent.stdout.readline())
    assert "writing" in parent.stdout.readline()
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    for _ in range(500):
        if not alive(stage):
            return
        time.sleep(0.02)
    os.kill(stage, signal.SIGKILL)
    pytest.fail("the stage outlived its parent")


def alive(pid):
    """Say whether a process runs; one that waits for its new parent to take note of its end does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_disk_that_is_full_midway_is_told_in_one_message_and_the_old_outputs_stay():
    earlier_outputs()
    before = present()
    program = """
import resource
from stages._run import main

def sample(params, inputs, outputs):
    outputs.table.write_text("new")
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    outputs.folder.mkdir()
    (outputs.folder / "a").write_bytes(b"x" * 10_000)

main(sample)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program, *ARGUMENTS], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "sample stopped: the disk is full, or a quota or limit on file sizes is reached" in done.stderr
    assert "Traceback" not in done.stderr
    assert present() == before
