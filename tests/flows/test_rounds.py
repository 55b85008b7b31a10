"""Work in rounds: a fault that lasts is told once, the next round is tried all the same, and SIGTERM ends it."""

import signal
import subprocess
import sys

CODE = """
import sys
from evergreen.errors import LogError
from flows.running.rounds import rounds
done = []
def made(root):
    def attend(say):
        done.append(root)
        if len(done) < 4:
            raise LogError("the database is away")
        say(f"round {len(done)}")
    return attend
sys.argv = ["x", "--every", "0.01"]
rounds("x", made, every=10)
"""


def test_a_lasting_fault_is_told_once_and_tried_again_until_the_end_is_asked_for() -> None:
    process = subprocess.Popen([sys.executable, "-c", CODE], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(2)]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert lines[0].endswith("the database is away\n")
    assert lines[1].endswith("round 4\n")
