"""One DVC for all stages of a run: it is imported once, and asked for stage after stage, as `dvc repro` alone would go through them.

    with session(root):
        status = yield from dvc(root, ["repro", "--single-item", "split"], environment)

Outside of a session each command is a process of its own. Knows nothing of what it is asked.
"""

import json
import secrets
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from evergreen.processes import end, start, stream

# Stages must not read the orders: those come through a copy of the standard input that no child inherits.
PROGRAM = """
import json, os, sys
orders = os.fdopen(os.dup(0))
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
mark, sys.argv = sys.argv[1], ["dvc"]  # the name that others are told who wait for it
from dvc.cli import main
for order in orders:
    try:
        status = main(json.loads(order))
    except SystemExit as ended:
        status = ended.code
    sys.stderr.flush()
    print(f"\\n{mark}{status}", flush=True)
"""


class Session:
    """A DVC that waits for orders in a project's folder, in a process group of its own."""

    def __init__(self, root: Path, environment: Mapping[str, str]) -> None:
        self.mark = f"\x1e{secrets.token_hex(8)} "
        self.process = start([sys.executable, "-c", PROGRAM, self.mark], environment, root, orders=subprocess.PIPE)

    def run(self, words: Sequence[str]) -> Generator[str, None, int]:
        """Give the output of one command line by line; return its status. Leaving early ends DVC and the stage with it."""
        assert self.process.stdin is not None and self.process.stdout is not None
        answered = False
        try:
            self.process.stdin.write(json.dumps(list(words)) + "\n")
            self.process.stdin.flush()
            for line in self.process.stdout:
                if line.startswith(self.mark):
                    answered = True
                    return int(line.removeprefix(self.mark))
                yield line.rstrip("\n")
            return self.process.wait() or 1  # it was killed
        finally:
            if not answered:
                self.close()

    @property
    def alive(self) -> bool:
        """Whether it can take another order."""
        return self.process.poll() is None

    def close(self) -> None:
        """End DVC, and what it runs."""
        end(self.process)


_open: dict[Path, Session] = {}


@contextmanager
def session(root: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Keep one DVC for the commands in `root`; one that has been ended by a fault is not replaced."""
    made = _open[root.resolve()] = Session(root, environment)
    try:
        yield
    finally:
        _open.pop(root.resolve(), None)
        made.close()


def in_session(root: Path) -> bool:
    """Say whether the next command in `root` needs no process of its own."""
    there = _open.get(root.resolve())
    return there is not None and there.alive


def dvc(root: Path, words: Sequence[str], environment: Mapping[str, str]) -> Generator[str, None, int]:
    """Run a DVC command in a folder, through its session where there is one; line by line, then its status."""
    if in_session(root):
        return _open[root.resolve()].run(words)
    return stream([sys.executable, "-m", "dvc", *words], environment, root)
