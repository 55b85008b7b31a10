import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from evergreen import processes
from evergreen.processes import stream
from tests.project_factories import until

PATIENT_CHILD = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
child.wait()
"""
POLITE = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (open("goodbye", "w").write("tidied up"), sys.exit(0)))
print("ready", flush=True)
time.sleep(600)
"""
DEAF = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.getpid(), flush=True)
time.sleep(600)
"""


def python(code: str, folder: Path):
    return stream([sys.executable, "-c", code], dict(os.environ), folder)


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def told(generator) -> tuple[list[str], int]:
    lines = []
    while True:
        try:
            lines.append(next(generator))
        except StopIteration as end:
            return lines, end.value


def test_output_of_both_kinds_comes_line_by_line_with_the_status_at_the_end(tmp_path: Path) -> None:
    code = "import sys, os; print(os.getcwd(), flush=True); print('no', file=sys.stderr); sys.exit(3)"
    assert told(python(code, tmp_path)) == ([str(tmp_path), "no"], 3)


def test_bytes_that_are_no_text_do_not_end_the_stream(tmp_path: Path) -> None:
    assert told(python("import sys; sys.stdout.buffer.write(b'caf\\xe9\\n')", tmp_path)) == (["caf\ufffd"], 0)


def test_leaving_the_stream_ends_the_whole_group(tmp_path: Path) -> None:
    lines = python(PATIENT_CHILD, tmp_path)
    grandchild = int(next(lines))
    lines.close()
    until(lambda: gone(grandchild))


def test_a_process_may_tidy_up_when_it_is_ended(tmp_path: Path) -> None:
    lines = python(POLITE, tmp_path)
    assert next(lines) == "ready"
    lines.close()
    assert (tmp_path / "goodbye").read_text() == "tidied up"


def test_a_process_that_does_not_listen_is_ended_by_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "SECONDS_TO_END", 0.5)
    lines = python(DEAF, tmp_path)
    pid = int(next(lines))
    lines.close()
    assert gone(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills a child with its parent")
def test_a_killed_parent_takes_its_command_with_it(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from evergreen.processes import stream\n"
        f"for line in stream([sys.executable, '-c', {DEAF!r}], dict(os.environ), Path('.')): print(line, flush=True)"
    )
    told_where = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=told_where, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    until(lambda: gone(pid))
