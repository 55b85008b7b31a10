"""A service that runs: `python -m serving` in a process of its own, in a home of its own, for tests from outside."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from evergreen.release.control import ask
from evergreen.release.live import Place

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0


class Running:
    """The supervisor's process and what it said."""

    def __init__(self, home: Path, *arguments: str, **environment: str) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home, self.place = home, Place(home)
        self._arguments, self._environment = arguments, environment
        self.said: list[str] = []
        self.port = 0
        self.start()

    def start(self, *arguments: str) -> None:
        """Start it (again) and wait until it serves."""
        command = [sys.executable, "-m", "serving", *(arguments or self._arguments)]
        environment = os.environ | {"EVERGREEN_HOME": str(self.home), "PYTHONPATH": str(ROOT)} | self._environment
        self.process = subprocess.Popen(
            command, cwd=self.home, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        self.said.clear()
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()
        self.wait_for(lambda: any("/docs" in line for line in self.said) or self.process.poll() is not None)
        address = re.search(r"https?://127\.0\.0\.1:(\d+)/docs", "\n".join(self.said))
        assert address, "\n".join(self.said)
        self.port = int(address[1])

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self.said.append(line.rstrip())

    def wait_for(self, met: Callable[[], Any], seconds: float = PATIENCE) -> None:
        """Wait until something is so; fails with what the service said."""
        end = time.monotonic() + seconds
        while not met():
            assert time.monotonic() < end, "\n".join(["not so in time; the service said:", *self.said])
            time.sleep(0.02)

    def ask(self, command: str, **told: Any) -> dict[str, Any]:
        """Give the service a command."""
        return ask(self.place, {"command": command, **told})

    def pids(self, of: str) -> list[int]:
        """Return the processes of the front, or of a version's workers."""
        return [process["pid"] for process in self.ask("live")["processes"] if process["of"] == of and process["pid"]]

    def get(self, path: str) -> tuple[int, str]:
        """GET a path; a refused connection is status 0."""
        return self.send(urllib.request.Request(f"http://127.0.0.1:{self.port}{path}"))

    def post(self, path: str, content: Any) -> tuple[int, str]:
        """POST JSON to a path."""
        body = json.dumps(content).encode()
        return self.send(urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, {"content-type": "application/json"}))

    def send(self, request: urllib.request.Request) -> tuple[int, str]:
        """Send a request and return status and body."""
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode()
        except OSError:
            return 0, ""

    def version(self) -> str:
        """Return the version that answers."""
        status, body = self.post("/predict", {"text": "card please"})
        assert status == 200, body
        return str(json.loads(body)["predictions"][0]["model_version"])

    def kill(self) -> None:
        """Kill the supervisor as a power loss would, and wait until everything of it is gone."""
        tree = [self.process.pid, *(child.pid for child in psutil.Process(self.process.pid).children(recursive=True))]
        self.process.kill()
        self.process.wait()
        self.wait_for(lambda: not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in tree))

    def end(self) -> int:
        """End it politely; return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@contextmanager
def running(home: Path, *arguments: str, **environment: str) -> Iterator[Running]:
    """Run a service, and leave nothing of it behind."""
    service = Running(home, *arguments, **environment)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.process.terminate()
            try:
                service.process.wait(30)
            except subprocess.TimeoutExpired:
                service.process.kill()
                service.process.wait()
