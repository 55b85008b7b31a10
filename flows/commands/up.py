"""`evergreen up`: Prefect's server and worker, the deployments, and the live service, in the foreground until Ctrl-C.

Ends what it has started, and leaves nothing running. What it shows is made in `flows/commands/status.py`.
"""

import argparse
import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from evergreen.config import load_params
from evergreen.errors import PipelineError, ReleaseError
from evergreen.processes import start
from evergreen.release.control import running as answers
from evergreen.release.live import Place
from flows import HOME
from flows.commands.screen import screen
from flows.running import connection, prefect_api
from flows.running.components import LOGS, Component, Ending, last_words

PORT = 4200
SECONDS_TO_COME_UP = 180
EVERY = 5.0  # seconds between two looks at what there is to show


def add_commands(commands: Any) -> None:
    """Add `up` to the command line."""
    up = commands.add_parser("up", help="bring up Prefect, the schedules and the live service, until Ctrl-C")
    up.add_argument("--prefect-port", type=int, default=PORT, help=f"port of Prefect's server (default {PORT}; 0: any free one)")
    up.add_argument("--port", type=int, help="port of the service, instead of params.yaml's serve.port; 0: any free one")
    up.add_argument("--poll", type=float, default=5.0, metavar="SECONDS", help="how often the worker asks for runs (default 5)")
    up.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    """Bring everything up, keep it up, end it."""
    root = Path.cwd()
    if not (root / "dvc.yaml").is_file():
        raise PipelineError(f"there is no dvc.yaml in {root}; run this in the project's own folder")
    load_params(root / "params.yaml")  # its faults are told before anything starts
    console = screen()
    ending = Ending()
    with _alone(), ExitStack() as stack:
        connection.RECORD.unlink(missing_ok=True)  # what a killed one left sends others to a server that is gone
        stack.callback(connection.RECORD.unlink, missing_ok=True)
        machine = Machine(root, given, console)
        stack.callback(machine.stop)
        if machine.start(ending):
            machine.watch(ending)


@contextmanager
def _alone() -> Iterator[None]:
    """Refuse a second `evergreen up` beside the first."""
    HOME.mkdir(parents=True, exist_ok=True)
    with connection.LOCK.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PipelineError(f"`evergreen up` runs already in {HOME}; see `evergreen status`") from None
        yield


class Machine:
    """The processes of one project, in the order in which they need one another."""

    def __init__(self, root: Path, given: argparse.Namespace, console: Console) -> None:
        self.root, self.console, self.place = root, console, Place(HOME)
        self.own_server = not os.environ.get("PREFECT_API_URL")
        port = connection.free_port(given.prefect_port) if self.own_server else 0
        self.api = os.environ.get("PREFECT_API_URL") or f"http://{connection.LOOPBACK}:{port}/api"
        environment = os.environ | {
            "PREFECT_API_URL": self.api,
            "EVERGREEN_PROJECT": str(root),  # prefect.yaml asks for it
            "PREFECT_SERVER_API_HOST": connection.LOOPBACK,
            "PREFECT_SERVER_API_PORT": str(port),
            # In memory, its default, a killed server forgets which run holds a place, and the place of a run that died is never free again.
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
            "PREFECT_WORKER_QUERY_SECONDS": f"{given.poll:g}",
            "PYTHONPATH": os.pathsep.join(
                filter(None, (str(root), os.environ.get("PYTHONPATH")))
            ),  # this project's flows, whatever is installed
            "PYTHONUNBUFFERED": "1",
            "NO_COLOR": "1",
        }
        prefect = [sys.executable, "-m", "prefect"]

        def component(name: str, *command: str, seconds: float = 15) -> Component:
            return Component(name, command, environment, LOGS / f"{name}.log", root, seconds)

        self.server = component("server", *prefect, "server", "start", "--host", connection.LOOPBACK, "--port", str(port))
        self.worker = component(
            "worker", *prefect, "worker", "start", "--pool", "evergreen", "--type", "process", "--name", f"up-{os.getpid()}"
        )
        told = [f"--port={given.port}"] if given.port is not None else []
        self.alerts = component("alerts", sys.executable, "-m", "flows.running.alerting", "--root", str(root))
        self.releases = component("releases", sys.executable, "-m", "flows.running.tending", "--root", str(root))
        self.service = component("service", sys.executable, "-m", "serving", *told, seconds=40)
        self.environment = environment
        self.told = ""  # of what hinders the service, so that it is told once

    @property
    def components(self) -> list[Component]:
        """All processes, those that need others last."""
        return [*([self.server] if self.own_server else []), self.worker, self.alerts, self.releases, self.service]

    def start(self, ending: Ending) -> bool:
        """Start all in order, the service first, because callers wait for nobody else; False where the end was asked for."""
        self._start_service()
        if not self._server_up(ending):
            return False
        self._refuse_to_share()
        if not self._deployed(ending):
            return False
        self.worker.start()
        self.alerts.start()
        self.releases.start()
        connection.Up(os.getpid(), self.api).write()  # from here on others find it
        return True

    def watch(self, ending: Ending) -> None:
        """Keep all running and show how things stand, until asked to end."""
        from flows.commands.status import gather, shown

        interactive = self.console.is_terminal
        seen = told = ""
        with Live(console=self.console, auto_refresh=False, transient=True) if interactive else ExitStack() as live:
            while True:
                for item in self.components:
                    if words := item.tend():
                        self._say(words)
                if not self.service.wanted:
                    self._start_service()
                try:
                    status, told = gather(self.root, self.api), ""
                except Exception as fault:  # of whatever kind: what cannot be shown is no reason to end what runs
                    words = f"how things stand cannot be told now: {str(fault) or type(fault).__name__}"
                    if words != told:
                        self._say(told := words)
                else:
                    if isinstance(live, Live):
                        live.update(Group(shown(status, self.components), Text("Ctrl-C ends all of it", style="dim")), refresh=True)
                    elif status.headline != seen:
                        self._say(seen := status.headline)
                if ending.within(EVERY):
                    return

    def stop(self) -> None:
        """End all, what depends on others first."""
        self._say("ending: runs are stopped, requests in work are answered first")
        for item in (self.alerts, self.releases, self.worker, self.service, self.server):
            item.stop()
        self._say("nothing is left running")

    def _start_service(self) -> None:
        """Start the service once there is something to serve; where somebody else runs it, leave it to them."""
        try:
            live = self.place.read()
        except ReleaseError as fault:  # the rest goes on without it
            if str(fault) != self.told:
                self.told = str(fault)
                self._say(self.told)
            return
        if live is not None and not answers(self.place):
            self._say("the service starts with what was live last")
            self.service.start()

    def _server_up(self, ending: Ending) -> bool:
        """Start Prefect's server, unless it is somebody else's, and wait for it; return False where the end was asked for first."""
        if not self.own_server:
            return self._server_answers(ending)
        while (turn := connection.turn()) is None:  # a command that brought its own begins just now
            if ending.within(0.1):
                return False
        with turn:
            self._say(f"Prefect's server comes up on {self.api.removesuffix('/api')}")
            self.server.start()
            return self._server_answers(ending)

    def _server_answers(self, ending: Ending) -> bool:
        """Wait for Prefect's server; return False where the end was asked for first."""
        deadline = time.monotonic() + SECONDS_TO_COME_UP
        while not ending.within(0.25):
            if self.own_server and not self.server.alive:
                raise PipelineError(f"Prefect's server did not come up:\n{last_words(self.server.log)}")
            if connection.healthy(self.api):
                return True
            if time.monotonic() > deadline:
                raise PipelineError(f"no Prefect server answers on {self.api} within {SECONDS_TO_COME_UP} s; its log: {self.server.log}")
        return False

    def _refuse_to_share(self) -> None:
        """Refuse a server with another project's deployments: names are the same, and each alert would start both retrainings."""
        if self.own_server:
            return
        try:
            others = prefect_api.others(self.api, str(self.root))
        except OSError as fault:
            raise PipelineError(f"Prefect refuses on {self.api} ({fault}); name and password belong in PREFECT_API_AUTH_STRING") from None
        if others:
            raise PipelineError(
                f"the Prefect server on {self.api} runs the project {', '.join(others)}; two on one server would retrain each other. Give "
                "this one a server of its own: unset PREFECT_API_URL and run evergreen up --prefect-port 0. Where that project is gone or "
                "was moved, delete its deployments: prefect deployment delete monitor/monitor, and retrain/retrain"
            )

    def _deployed(self, ending: Ending) -> bool:
        """Bring the server up to date; return False where the end was asked for first."""
        log = LOGS / "deploy.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "flows", "deploy"]
        with log.open("wb") as told, start(command, self.environment, self.root, errors=told) as process:
            while process.poll() is None:
                if ending.within(0.1):
                    process.kill()
                    return False
            names = process.stdout.read().split() if process.stdout else []
        if process.returncode:
            raise PipelineError(f"the deployments could not be made:\n{last_words(log)}")
        self._say(f"deployments: {', '.join(names)}")
        return True

    def _say(self, words: str) -> None:
        self.console.print(Text.assemble((time.strftime("%H:%M:%S  "), "dim"), words), soft_wrap=True)
