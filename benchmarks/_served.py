"""Services as processes: started, waited for, watched (memory, CPU seconds) and ended."""

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

START_SECONDS = 120.0
SAMPLE = 0.2  # seconds between looks at the memory


class Served:
    """A service that answers on `port`. `ready_seconds`: from its start until it said that it is ready."""

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str], port: int) -> None:
        self.port = port
        self.log = tempfile.TemporaryFile()  # noqa: SIM115  (closed by `end`)
        start = time.perf_counter()
        self.process = subprocess.Popen(
            command, cwd=folder, env=dict(environment), stdout=self.log, stderr=self.log, start_new_session=True
        )
        while not self._ready():
            if self.process.poll() is not None or time.perf_counter() > start + START_SECONDS:
                said = self.said()
                self.end()
                sys.exit(f"`{' '.join(command)}` did not become ready; it said:\n{said}")
            time.sleep(0.02)
        self.ready_seconds = time.perf_counter() - start
        self.peak = 0
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._sample, daemon=True)
        self._watch.start()

    def said(self) -> str:
        """Return the end of what the service printed."""
        self.log.seek(0)
        return self.log.read().decode(errors="replace")[-3000:]

    def memory(self) -> int:
        """Return the resident bytes of all its processes; what they share is counted in each."""
        return sum(_of(process, lambda each: each.memory_info().rss) for process in self._tree())

    def cpu(self) -> float:
        """Return the CPU seconds of all its processes until now."""
        return sum(_of(process, lambda each: sum(each.cpu_times()[:2])) for process in self._tree())

    def processes(self) -> int:
        """Return how many processes it is."""
        return len(self._tree())

    def end(self) -> None:
        """End it, politely first."""
        if hasattr(self, "_ended"):
            self._ended.set()
            self._watch.join()
        tree = self._tree()
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for process in tree:
            _of(process, lambda each: each.kill())
        self.log.close()

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _tree(self) -> list[psutil.Process]:
        try:
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _sample(self) -> None:
        while not self._ended.wait(SAMPLE):
            self.peak = max(self.peak, self.memory())


def _of(process: psutil.Process, ask):  # type: ignore[no-untyped-def]
    try:
        return ask(process) or 0
    except psutil.NoSuchProcess:
        return 0


@contextmanager
def served(command: Sequence[str], *, folder: Path, port: int, **environment: str) -> Iterator[Served]:
    """Run a service on a port, quietly and offline; it is gone at the end."""
    quiet = {"BENTOML_DO_NOT_TRACK": "True", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    service = Served(command, folder, os.environ | quiet | environment, port)
    try:
        yield service
    finally:
        service.end()


def free_port() -> int:
    """Return a port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
