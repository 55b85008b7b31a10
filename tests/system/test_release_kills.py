"""Releases that are killed at any moment: the service always answers, and tags and ledger say what is live as soon as somebody looks."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from evergreen.release.ledger import GOES_LIVE, Ledger
from evergreen.release.registry import Registry
from evergreen.release.signing import read_trusted
from tests.flows.stored import repackaged, stored_project
from tests.project_factories import git
from tests.release_factories import bento_folder
from tests.serving.running import ROOT, running

ROUNDS = 12
LONGEST = 3.0  # seconds until a kill; a promotion takes about two


@pytest.mark.long
@pytest.mark.timeout(600)
def test_whatever_is_killed_live_tags_and_ledger_agree_after_the_next_look(tmp_path: Path) -> None:
    home, chance = tmp_path / "home", random.Random(17)
    bentos = [bento_folder(tmp_path / f"bento{number}", threshold=0.5 + number / 10, verdict="PROMOTE") for number in range(3)]
    root = stored_project(tmp_path / "project", bentos[0])
    for bento in bentos[1:]:
        repackaged(root, bento)
    commits = git(root, "rev-list", "--reverse", "HEAD").split()
    registry = Registry(root)
    environment = os.environ | {"EVERGREEN_HOME": str(home), "PYTHONPATH": str(ROOT), "GIT_CONFIG_GLOBAL": os.devnull}

    def command(*words: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, *words],
            cwd=root,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    assert command("-m", "flows", "promote", commits[0], "--why", "first").wait() == 0
    ends: Counter[bool] = Counter()
    with running(home) as service:
        for turn in range(ROUNDS):
            words = ("rollback",) if turn % 4 == 3 else ("promote", commits[(turn + 1) % 3], "--why", f"round {turn}")
            process = command("-m", "flows", *words)
            try:
                process.wait(chance.uniform(0.3, LONGEST))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
            ends[process.wait() == 0] += 1
            assert service.version()
            service.ask("trial", bento=None, mode="shadow", share=0.0)  # waits for a swap that the service finishes by itself
            look = "from pathlib import Path; from flows.releasing.settle import settle; settle(Path.cwd())"
            assert command("-c", look).wait() == 0
            ledger, live = Ledger(registry, memory=home / "signing" / "ledger.json"), registry.live()
            told = [entry for entry in ledger.read() if entry.event in GOES_LIVE]
            pointer = service.place.read()
            assert pointer is not None and live is not None
            assert pointer.champion.version == told[-1].model_version == live.model_version == service.version()
            assert ledger.verify(read_trusted(home / "signing")) == []
        changes = Counter(entry.facts["change"] for entry in told if "change" in entry.facts)
        assert max(changes.values()) == 1
        assert {entry.event for entry in told} <= {"promotion", "rollback"}  # nothing that was announced is found like a stranger's work
        assert command("-m", "flows", "promote", commits[2], "--why", "at last").wait() == 0
    assert ends[False] and time.time() - told[-1].moment < 600
    assert git(root, "status", "--porcelain") == ""
