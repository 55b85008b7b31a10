"""A Prefect server of a test's own, and small projects whose flows only leave word that they ran."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
PATIENCE = 180
CODE = ("flows", "evergreen", "stages", "serving", "deploy")
FILES = ("prefect.yaml", "params.yaml", "dvc.yaml", "constraints.txt", "pyproject.toml")
STAND_IN = '''"""Stands in for a flow that takes minutes."""

import os
import time
from pathlib import Path

from prefect import flow

from flows import HOME


@flow(name="{name}")
def {name}(root: Path) -> str:
    word = HOME / "ran-{name}"
    word.with_suffix(".partial").write_text(f"{{os.getcwd()}}\\n{{root}}\\n{{__file__}}")
    word.with_suffix(".partial").rename(word)
    if (HOME / "linger").exists():
        time.sleep(600)
    return "done"
'''


def stand_in_project(folder: Path) -> Path:
    """Make a project whose two flows only leave word, in EVERGREEN_HOME, of where they ran."""
    for name in CODE:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy2(ROOT / name, folder / name)
    for name in ("monitor", "retrain"):
        (folder / "flows" / f"{name}.py").write_text(STAND_IN.format(name=name))
    return folder


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return the environment of a command with a home of its own, and of no server that anybody else has named."""
    foreign = ("PREFECT_", "EVERGREEN_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)} | {
        "EVERGREEN_HOME": str(home), "PREFECT_HOME": str(home / "prefect"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1", "NO_COLOR": "1", "COLUMNS": "200", **more,
    }  # fmt: skip


def evergreen(project: Path, *words: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command of the project's own code."""
    command = [sys.executable, "-m", "flows", *words]
    return subprocess.run(command, cwd=project, env=dict(env), capture_output=True, text=True, timeout=PATIENCE)


def until(happens: Callable[[], Any]) -> Any:
    """Wait for something, and return it."""
    deadline = time.monotonic() + PATIENCE
    while not (found := happens()):
        assert time.monotonic() < deadline, "it has not happened"
        time.sleep(0.1)
    return found


def ask(api: str, path: str, body: Any = None) -> Any:
    """Return what the server answers; one that has too much to do with SQLite (503) is asked again, as Prefect's client does."""
    request = urllib.request.Request(f"{api}/{path}", json.dumps(body or {}).encode(), {"content-type": "application/json"})
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as fault:
            if fault.code != 503 or time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def answers(api: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"{api}/health", timeout=5) as answer:
        return bool(answer.status == 200)
    return False


def free_port() -> int:
    with socket.socket() as trying:
        trying.bind(("127.0.0.1", 0))
        return int(trying.getsockname()[1])


@contextmanager
def prefect_server(home: Path, **more: str) -> Iterator[str]:
    """Run a server until the end of the block; give the address of its API."""
    home.mkdir(parents=True, exist_ok=True)
    port = free_port()
    env = environment(home, PREFECT_SERVER_API_PORT=str(port), **more)
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=home, env=env, stdout=log, stderr=log, start_new_session=True)
    api = f"http://127.0.0.1:{port}/api"
    try:
        until(lambda: answers(api) or process.poll() is not None)
        assert process.poll() is None, (home / "server.log").read_text()[-2000:]
        yield api
    finally:
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        process.wait()


def belonging(home: Path) -> list[psutil.Process]:
    """Return every process that runs with this EVERGREEN_HOME."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get("EVERGREEN_HOME") == str(home):
                found.append(process)
    return found
