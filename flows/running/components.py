"""The processes that `evergreen up` keeps running: started, watched, started again when they end, and ended as a whole.

Each writes to a log file of its own. Knows nothing of what the processes are for.
"""

import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil

from evergreen.processes import start
from flows import HOME

State = Literal["waiting", "running", "down"]
LONGEST_PAUSE = 30.0  # seconds before a process that keeps ending is started again
STEADY = 60.0  # seconds after which a process counts as well, and its next end as the first
LOGS = HOME / "logs"
KEPT = 10_000_000  # bytes of a log from an earlier run


@dataclass
class Component:
    """One process. `down_for` seconds after an end it is started again: 1, 2, 4 ... LONGEST_PAUSE."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    folder: Path
    seconds_to_end: float = 15.0
    restarts: int = 0
    process: "subprocess.Popen[str] | None" = None
    since: float = 0.0
    failures: int = 0
    ended: float = field(default=0.0)
    wanted: bool = False

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    @property
    def state(self) -> State:
        """What to say of it."""
        if not self.wanted:
            return "waiting"
        return "running" if self.alive else "down"

    def start(self) -> None:
        """Start the process, in a session of its own; it dies with this one, whatever this one dies of."""
        self.wanted = True
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > KEPT:
            self.log.replace(self.log.with_suffix(".old.log"))
        with self.log.open("ab") as output:
            self.process = start(self.command, self.environment, self.folder, output=output)
        self.since = time.monotonic()

    def tend(self) -> str | None:
        """Start the process again when it has ended and its pause is over; return what there is to say."""
        if not self.wanted or self.process is None or self.alive:
            return None
        now = time.monotonic()
        if self.ended < self.since:
            self.ended = now
            self.failures = 1 if now - self.since > STEADY else self.failures + 1
            return f"{self.name} ended with status {self.process.returncode}; it is started again (its log: {self.log})"
        if now - self.ended >= min(LONGEST_PAUSE, 2.0 ** (self.failures - 1)):
            self.restarts += 1
            self.start()
        return None

    def stop(self) -> None:
        """End the process and all that it has started: politely, then by force."""
        self.wanted = False
        if self.process is None:
            return
        family = _family(self.process.pid)
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(self.seconds_to_end)
        left = [member for member in family if member.is_running()]
        for member in left:
            with suppress(psutil.NoSuchProcess):
                member.terminate()
        _, stubborn = psutil.wait_procs(left, timeout=5)
        for member in stubborn:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(stubborn, timeout=1)
        self.process.wait()


def _family(pid: int) -> list[psutil.Process]:
    """Return a process and all that descend from it, youngest last."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


class Ending:
    """Says when somebody has asked for the end, by Ctrl-C or SIGTERM; may be waited for.

    A pipe, not a `threading.Event`: setting an event from a signal handler waits for ever where the same thread waits for the event.
    """

    def __init__(self) -> None:
        self._hear, self._tell = os.pipe()
        os.set_blocking(self._tell, False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._asked)

    def _asked(self, number: int, frame: object) -> None:
        with suppress(BlockingIOError):
            os.write(self._tell, b"x")

    def within(self, seconds: float) -> bool:
        """Wait for the end, so many seconds at most; return whether it was asked for."""
        return bool(select.select([self._hear], [], [], seconds)[0])


def last_words(log: Path, lines: int = 8) -> str:
    """Return the end of a log, for a person to whom something has to be explained."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4000))
            return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-lines:])
    except OSError:
        return ""
