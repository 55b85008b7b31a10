"""The whole loop under `evergreen up`, struck: alerts come in, a process is killed at a random moment, and the loop must come to rest.

    with loop(folder) as running:
        told = running.round("retraining", chance)

Monitor and retraining are stand-ins (tests/system/standins) with the real look, alert, claim, lease, worktree and registry, whose stages
only write for a second; server, worker, alerting and service are the real ones.
"""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Engine

from evergreen.monitoring.log import database
from evergreen.monitoring.loop import alerts, loop_tables, slot
from evergreen.monitoring.watch import history
from evergreen.release.ledger import Ledger
from evergreen.release.registry import Registry
from evergreen.release.signing import read_trusted
from tests.project_factories import environment, git, small_project
from tests.release_factories import bento_folder
from tests.serving.running import running as service_running

BOTH = "worker and retraining"  # nobody is left to tell Prefect of the run
TARGETS = ("monitor", "worker", "server", "retraining", BOTH)
PATIENCE = 600.0  # seconds within which the loop must have come to rest, before a round counts as lost
EVERY = 20.0  # seconds between two looks of the monitor, where its schedule would have it look again
STANDINS = Path(__file__).parent / "standins"
CALM = {"policy.cooldown_hours": 0, "policy.budget": 100_000, "policy.min_labels": 1, "policy.persistence": 1, "monitor.schedule": None}


@dataclass
class Told:
    """What a round came to; seconds are from the kill on, None where there was nothing to wait for."""

    target: str
    moment: float  # seconds after the alert
    slot_freed: float | None = None  # of a retraining that was killed
    marked: float | None = None  # its run, or the monitor's, is no longer Running for Prefect
    state: str | None = None  # as which
    at_rest: float = 0.0  # every alert is answered, and nothing runs
    stuck: bool = False  # it did not come to rest, and no other round can follow
    requests: int = 0
    failed: int = 0
    faults: list[str] = field(default_factory=list)


class Caller:
    """Asks the service without a pause, and counts what was not answered."""

    def __init__(self, port: int) -> None:
        self.port, self.statuses, self._end = port, Counter[int](), threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        while not self._end.wait(0.2):
            self.statuses[post(f"http://127.0.0.1:{self.port}/predict", {"text": "where is my card"})[0]] += 1

    def stop(self) -> None:
        self._end.set()
        self._thread.join()


def post(url: str, body: Any, seconds: float = 30.0) -> tuple[int, Any]:
    """Post JSON; return status and answer, status 0 where nobody answers."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            content = answer.read()
            return answer.status, json.loads(content) if content else None
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, None
    except (OSError, ValueError):
        return 0, None


class Loop:
    """A project whose loop runs; made by `loop`."""

    def __init__(self, folder: Path, *, lease: float) -> None:
        self.project, self.home, self.log = folder / "project", folder / "home", folder / "up.log"
        small_project(self.project, **{name.replace(".", "__"): value for name, value in CALM.items()}, policy__lease_seconds=lease)
        shutil.copy2(self.project / "flows" / "retrain.py", self.project / "flows" / "retrain_itself.py")
        for name in ("monitor", "retrain"):
            shutil.copy2(STANDINS / f"{name}.py", self.project / "flows" / f"{name}.py")
        git(self.project, "add", "--all")
        git(self.project, "commit", "--quiet", "--message=Stand-ins")
        self.notes = self.home / "chaos"
        self.notes.mkdir(parents=True)
        with service_running(self.home, str(bento_folder(folder / "bento")), "--port", "0"):
            pass  # from now on there is something that was live
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.left: list[list[str]] = []  # what `evergreen up` has left running at its end
        self.engine: Engine = database.connect(f"sqlite:///{self.home / 'traffic.sqlite'}")

    def start(self) -> None:
        """Bring everything up, and wait until it answers."""
        told = environment(self.project) | {"EVERGREEN_HOME": str(self.home), "PREFECT_HOME": str(self.home / "prefect")}
        command = [sys.executable, "-m", "flows", "up", "--prefect-port", "0", "--port", str(self.port), "--poll", "2"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.project, env=told, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.until(lambda: (self.home / "up.json").exists() and self.deployment("monitor"), "evergreen up comes up")
        self.until(lambda: self.part("worker") and self.part("alerts"), "its worker starts")
        self.until(lambda: post(f"http://127.0.0.1:{self.port}/predict", {"text": "card"})[0] == 200, "the champion answers")
        for family in (loop_tables, history):
            family.prepare(self.engine)

    def end(self) -> None:
        """End it as Ctrl-C would; nothing of it may be left."""
        if self.process is None or self.process.poll() is not None:
            return
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(120)
        finally:
            self.left = [words for member in family if (words := _words(member))]
            for member in family:
                with suppress(psutil.NoSuchProcess):
                    member.kill()
            self.process = None
            self.engine.dispose()

    def until(self, holds: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
        """Wait until something holds; return it, and fail with the last words of `evergreen up`."""
        end = time.monotonic() + seconds
        while not (found := holds()):
            assert self.process is None or self.process.poll() is None, f"evergreen up has ended:\n{self.log.read_text()[-3000:]}"
            assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}\n{self.log.read_text()[-3000:]}"
            time.sleep(0.4)
        return found

    # Prefect

    @property
    def api(self) -> str:
        return str(json.loads((self.home / "up.json").read_text())["api"])

    def ask(self, path: str, body: Any) -> Any:
        """Ask Prefect's server; None while it does not answer."""
        return post(f"{self.api}/{path}", body)[1]

    def deployment(self, name: str) -> str | None:
        found = self.ask("deployments/filter", {"deployments": {"name": {"any_": [name]}}})
        return found[0]["id"] if found else None

    def running_now(self) -> list[str]:
        """Return the runs that a killed worker takes along; those that it has not begun yet are made again by another look."""
        found = self.ask("flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}}})
        return [run["id"] for run in found or []]

    def state_of(self, run: str) -> str | None:
        found = self.ask("flow_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
        return found[0]["state_name"] if found else None

    # Processes

    def part(self, name: str) -> psutil.Process | None:
        """Return the process of a part of `evergreen up`."""
        words = {"server": ["server", "start"], "worker": ["worker", "start"], "alerts": ["flows.running.alerting"]}[name]
        assert self.process is not None
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess):
                if all(word in child.cmdline() for word in words):
                    return child
        return None

    def of_flow(self, name: str) -> psutil.Process | None:
        """Return the live process of the monitor or of the retraining that holds the slot."""
        if name == "retraining":
            current = slot.running(self.engine)
            pids = [int(current.holder.split(":")[1])] if current else []
        else:
            pids = [int(note.suffix[1:]) for note in self.notes.glob("monitor.*")]
        for pid in pids:
            with suppress(psutil.Error):
                process = psutil.Process(pid)
                ours = process.environ().get("EVERGREEN_HOME") == str(self.home)  # a number may be another's by now
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    return process
        return None

    def ledger_faults(self) -> list[str]:
        """Return what is wrong with the ledger, and finished retrainings whose candidate is not on it exactly once."""
        ledger = Ledger(Registry(self.project), None)
        trusted = read_trusted(self.home / "signing")
        on_it = Counter(entry.commit for entry in ledger.read() if entry.event == "candidate")
        finished = [one.result["commit"] for one in slot.retrainings(self.engine, limit=10_000) if one.state == "finished"]
        return [
            *ledger.verify(trusted),
            *(f"candidate {commit} is on it {on_it[commit]} times" for commit in finished if on_it[commit] != 1),
        ]

    # A round

    def alert(self, chance: random.Random) -> None:
        """Have the monitor look, or tell of an alert from outside; the server may still be coming up."""
        if chance.random() < 0.5:
            body = {"key": f"{chance.random()}", "because": "a round of chaos"}
            self.until(lambda: post(f"http://127.0.0.1:{self.port}/alerts", body)[0] == 200, "the service takes an alert")
        self.until(lambda: self.look(), "Prefect takes a run of the monitor")

    def look(self) -> str | None:
        deployment = self.deployment("monitor")
        made = self.ask(f"deployments/{deployment}/create_flow_run", {}) if deployment else None
        return made["id"] if made else None

    def round(self, target: str, chance: random.Random) -> Told:
        """Alert, kill, wait until all is at rest, and say what was broken on the way."""
        caller = Caller(self.port)
        before = {one.id for one in slot.retrainings(self.engine, limit=10_000)}
        known = {alert.id for alert in alerts.listed(self.engine, limit=10_000)}
        start = time.monotonic()
        self.alert(chance)
        told, victim, runs = self.strike(target, chance, start, known)
        killed = time.monotonic()
        try:
            self.watch(told, victim, runs, killed, known)
        except AssertionError as fault:
            told.stuck, told.at_rest = True, time.monotonic() - killed
            told.faults.append(str(fault).splitlines()[0])
        finally:
            caller.stop()
        told.requests, told.failed = caller.statuses.total(), caller.statuses.total() - caller.statuses[200]
        self.judge(told, before)
        return told

    def strike(self, target: str, chance: random.Random, start: float, known: set[str]) -> tuple[Told, slot.Retraining | None, list[str]]:
        """Kill the target at a random moment of its life; return also the retraining that dies with it, and Prefect's runs that do."""
        current, runs = None, list[str]()
        look_again = self.looks(known)
        if target in ("server", "worker"):
            time.sleep(chance.uniform(0, 25))
            process = self.until(lambda: self.part(target), f"{target} runs")
            runs = self.running_now() if target == "worker" else []
        else:
            name = "monitor" if target == "monitor" else "retraining"
            self.until(lambda: look_again() or self.of_flow(name), f"{target} begins")
            time.sleep(chance.uniform(0, 6))
            worker = self.until(lambda: self.part("worker"), "the worker runs") if target == BOTH else None
            process = self.until(lambda: self.of_flow(name), f"{target} runs")
            current = slot.running(self.engine) if name == "retraining" else None
            run = current.holder.rpartition(":")[2] if current else self.run_of(process.pid)
            runs = [run] if run else []
            if worker:
                os.kill(worker.pid, signal.SIGKILL)
        told = Told(target, time.monotonic() - start)
        os.kill(process.pid, signal.SIGKILL)
        return told, current, runs

    def run_of(self, pid: int) -> str | None:
        with suppress(psutil.Error):
            return psutil.Process(pid).environ().get("PREFECT__FLOW_RUN_ID")
        return None

    def watch(self, told: Told, victim: slot.Retraining | None, runs: list[str], killed: float, known: set[str]) -> None:
        """Wait for the slot, for Prefect and for the rest, and note when each came."""

        def seen() -> bool:
            now = time.monotonic() - killed
            if victim and told.slot_freed is None:
                current = slot.running(self.engine)
                told.slot_freed = now if current is None or current.id != victim.id else None
            if runs and told.marked is None:
                states = [self.state_of(run) for run in runs]
                if all(state is not None and state not in ("Running", "Pending") for state in states):
                    told.marked, told.state = now, ", ".join(sorted({str(state) for state in states}))
            look_again()
            return (not victim or told.slot_freed is not None) and (not runs or told.marked is not None) and self.at_rest(known)

        look_again = self.looks(known)
        self.until(seen, f"the loop comes to rest after the {told.target} was killed")
        told.at_rest = time.monotonic() - killed

    def looks(self, known: set[str]) -> Callable[[], None]:
        """Return what has the monitor look again where it was killed, or turned away for a run that was: its schedule would do so."""
        last = time.monotonic()

        def again() -> None:
            nonlocal last
            if time.monotonic() - last > EVERY and self.wants_a_look(known):
                last = time.monotonic()
                self.look()

        return again

    def at_rest(self, known: set[str]) -> bool:
        """Return whether there was a new alert, every alert is answered, and nothing runs."""
        found = alerts.listed(self.engine, limit=10_000)
        new = [alert for alert in found if alert.id not in known]
        waiting = [alert for alert in found if alert.state in ("open", "taken")]
        quiet = slot.running(self.engine) is None and self.of_flow("monitor") is None
        return bool(new) and not waiting and quiet and not history.undecided(self.engine)

    def wants_a_look(self, known: set[str]) -> bool:
        """Return whether the monitor was killed before its window was decided upon: its schedule would have it look again."""
        new = any(alert.id not in known for alert in alerts.listed(self.engine, limit=10_000))
        return (not new or bool(history.undecided(self.engine))) and self.of_flow("monitor") is None

    def judge(self, told: Told, before: set[str]) -> None:
        """Note what must not be."""
        new = [one for one in slot.retrainings(self.engine, limit=10_000) if one.id not in before]
        if not any(one.state == "finished" for one in new):
            told.faults.append("no healthy retraining followed")
        lost = [alert for alert in alerts.listed(self.engine, limit=10_000) if alert.state not in ("done", "stale")]
        told.faults += [f"alert {alert.id} is {alert.state}" for alert in lost]
        if (self.notes / "violations").exists():
            told.faults.append((self.notes / "violations").read_text().strip())
            (self.notes / "violations").unlink()
        told.faults += [f"retraining {one.id} {one.state}: {one.result}" for one in new if one.state == "failed"]
        told.faults += [f"ledger: {words}" for words in self.ledger_faults()]
        if told.failed:
            told.faults.append(f"{told.failed} of {told.requests} requests were not answered")
        if broken := git(self.project, "status", "--porcelain"):
            told.faults.append(f"the person's checkout was touched: {broken}")
        for what, seconds in (("slot", told.slot_freed), ("run", told.marked)):
            if seconds is not None and seconds > 120:
                told.faults.append(f"the {what} took {seconds:.0f} s")


def _words(process: psutil.Process) -> list[str]:
    """Return the command line of a process that lives; nothing for one that has ended."""
    with suppress(psutil.Error):
        return process.cmdline() if process.is_running() else []
    return []


def free_port() -> int:
    with socket.socket() as trying:
        trying.bind(("127.0.0.1", 0))
        return int(trying.getsockname()[1])


@contextmanager
def loop(folder: Path, *, lease: float = 90) -> Iterator[Loop]:
    """Bring a loop up in a folder, and leave nothing of it behind."""
    made = Loop(folder, lease=lease)
    try:
        made.start()
        yield made
    finally:
        made.end()
