"""`make demo` played whole, with a tiny backbone and without a network: what it says at its end is what is on record."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import psutil
import pytest
from sqlalchemy import Engine

from demo.story import DAYS, LATER
from evergreen.monitoring.log import database
from evergreen.monitoring.log.request_log import Window
from evergreen.monitoring.loop import alerts, slot
from evergreen.monitoring.watch import history
from evergreen.monitoring.watch.window import count
from evergreen.release.ledger import Ledger
from evergreen.release.registry import Registry
from evergreen.release.signing import read_trusted
from tests.project_factories import ROOT, command, git, small_project
from tests.system.network import LOOPBACK_UP, NO_NETWORK, attempts, guarded, watched

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]
# A tiny backbone learns next to nothing: rules of the gate let it pass, and labels are reason enough to train it anew.
TINY = {
    "policy__new_labels": 350,
    "gate__rules__no_worse__max_loss": 0.99,
    **{f"gate__rules__{rule}": None for rule in ("beats_baseline", "macro_f1", "worst_group", "fairness_gap", "calibration", "latency")},
    **{f"gate__rules__{rule}": None for rule in ("remembers", "negative_flips", "no_slice_worse")},
}
WINDOWS = (380, 60, 60)  # messages: labels of the first are enough for a retraining, and are told before the second is looked at


@dataclass(frozen=True)
class Played:
    """The project that the demo was played from, the demo's folder, what it said in one line, and its exit status."""

    source: Path
    folder: Path
    said: str
    status: int

    @property
    def root(self) -> Path:
        return self.folder / "project"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @contextmanager
    def database(self) -> Iterator[Engine]:
        engine = database.connect(f"sqlite:///{self.home / 'traffic.sqlite'}")
        yield engine
        engine.dispose()


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    folder = tmp_path_factory.mktemp("play")
    source = small_project(folder / "source", **TINY)
    _few_messages(source)
    place = (*NO_NETWORK, *LOOPBACK_UP) if NO_NETWORK else ()
    words = (*place, sys.executable, "-m", "demo", "--folder", str(folder / "demo"))
    done: subprocess.CompletedProcess[str] = command(source, *words, check=False, **guarded(source))
    return Played(source, folder / "demo", " ".join((done.stdout + done.stderr).split()), done.returncode)


def _few_messages(source: Path) -> None:
    """Leave so many messages that they fill the windows, and commit them."""
    rows = pd.concat([pd.read_csv(ROOT / "examples" / "inbox" / name, dtype=str) for name in LATER])[: sum(WINDOWS)]
    starts = pd.Timestamp("2025-09-01") + pd.to_timedelta([DAYS * number for number in range(len(WINDOWS))], unit="D")
    # Each window's messages fill its days, so that windows of so many days are dealt out like this again.
    days = [start + pd.Timedelta(days=place * DAYS // size) for start, size in zip(starts, WINDOWS, strict=True) for place in range(size)]
    rows = rows.assign(received_at=[f"{day:%Y-%m-%d}" for day in days])
    half = WINDOWS[0]
    for name, part in zip(LATER, (rows[:half], rows[half:]), strict=True):
        part.to_csv(source / "examples" / "inbox" / name, index=False)
    git(source, "commit", "--quiet", "--all", "--message=Few messages")


def test_it_plays_to_its_end_and_leaves_nothing_running(played: Played) -> None:
    assert played.status == 0, played.said[-3000:]
    assert "All of it took" in played.said
    home = str(played.home)
    left = [one.info["cmdline"] for one in psutil.process_iter(["environ", "cmdline"]) if _home_of(one) == home]
    assert left == []


def _home_of(process: psutil.Process) -> str | None:
    return (process.info["environ"] or {}).get("EVERGREEN_HOME")


def test_an_alert_has_started_the_retraining_by_itself(played: Played) -> None:
    with played.database() as engine:
        decisions = history.read_decisions(engine)
        runs = {one.alert: one for one in slot.retrainings(engine)}
        [alert] = [one for one in alerts.listed(engine) if one.source == "monitor"]
    assert [one.action for one in decisions].count("retrain") == 1
    assert (alert.state, alert.trigger, alert.window) == ("done", "labels", decisions[1].window)
    assert decisions[1].action == "retrain"
    assert runs[alert.id].state == "finished"
    assert "Prefect's automation has started the retraining, nobody had to" in played.said


def test_two_versions_went_live_and_the_ledger_tells_of_them(played: Played) -> None:
    registry = Registry(played.root)
    assert [version.name for version in registry.versions()] == ["v1.0.0", "v1.1.0"]
    ledger = Ledger(registry, None)
    assert ledger.verify(read_trusted(played.home / "signing")) == []
    assert [entry.event for entry in ledger.read()].count("candidate") == 2
    first, second = (str(version.model_version) for version in registry.versions())
    assert f"model {second} has won against {first} on the same rows" in played.said
    assert re.search(rf" all {WINDOWS[2]} 0\.\d{{3}} 0\.\d{{3}} [+-]0\.\d{{3}} ", played.said), played.said


def test_a_customer_asked_while_the_version_changed_and_is_in_no_figure(played: Played) -> None:
    first, second = (str(version.model_version) for version in Registry(played.root).versions())
    said = re.search(r"(\d+) requests of a customer meanwhile: (\d+) answered, (\d+) by (\w+), (\d+) by (\w+); 0 failed", played.said)
    assert said, played.said
    asked, answered, before, old, after, new = said.groups()
    assert (old, new) == (first, second)
    assert int(asked) == int(answered) == int(before) + int(after)
    assert int(before) > 10
    with played.database() as engine:
        assert count(engine, Window()) == sum(WINDOWS) + int(asked)
        assert [one["rows"] for one in history.read(engine)] == list(WINDOWS)


def test_nothing_reaches_for_a_network(played: Played) -> None:
    seen = watched(played.source)
    for part in ("-m flows up", "prefect server start", "prefect worker start", "-m serving", "stages.finetune"):
        assert part in seen, f"{part} was not guarded:\n{seen}"
    assert attempts(played.source) == []


@pytest.mark.skipif(not NO_NETWORK, reason="this system lets nobody make a network namespace")
def test_it_needs_no_network(played: Played) -> None:
    """The fixture played it where the kernel shows no network; here the same place is seen to have none but its own loopback."""
    probe = (
        "import socket\nwith socket.create_server(('127.0.0.1', 0)) as own:\n    socket.create_connection(own.getsockname()).close()\n"
        "socket.create_connection(('192.0.2.1', 80), 1)"
    )
    assert "Network is unreachable" in command(played.source, *NO_NETWORK, *LOOPBACK_UP, sys.executable, "-c", probe, check=False).stderr
    assert played.status == 0
