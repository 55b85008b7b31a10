"""Sees to releases between runs: tells what a killed one has done, ends the trial it has left, and finishes what it was about to do.

    python -m flows.running.tending    rounds until it is ended: a process of `evergreen up`

A PROMOTE that no run has brought to its end is released here, where releases are automatic. Decides nothing that a run would not have.
"""

import time
from collections.abc import Callable
from pathlib import Path

from evergreen.errors import EvergreenError
from flows.bridge.committed import params_of
from flows.notify import notify
from flows.release import release
from flows.releasing.ledger import BY_ITSELF
from flows.releasing.overtaken import Overtaken
from flows.releasing.settle import STATE, Say, alone, overrides, pending, settle, used
from flows.releasing.trials import under_way
from flows.running.rounds import rounds

EVERY = 10.0  # seconds between two rounds
PATIENCE = 60.0  # seconds after a verdict in which its own run is expected to release it
LONGEST_PAUSE = 3600.0  # seconds between two tries of a release that keeps failing


class Tending:
    """The rounds of one project."""

    def __init__(self, root: Path, patience: float = PATIENCE, clock: Callable[[], float] = time.time) -> None:
        self.root, self.patience, self.clock = root, patience, clock
        self.failures: dict[str, int] = {}  # of a commit's release
        self.not_before = 0.0
        self.reminded: set[int] = set()

    def attend(self, say: Say) -> None:
        """Do one round."""
        settle(self.root, say=say)
        with alone("seeing to releases", say):
            ledger = used(self.root)
        if ledger is None:
            return
        params, entries = params_of(self.root), ledger.read()
        live = ledger.registry.live()
        override = overrides(entries, live.commit) if live else None
        if live and override and override.number not in self.reminded and float(override.facts["until"]) < self.clock():
            self.reminded.add(override.number)
            body = f"{override.who} stood up for it ({override.why}), and that has ended: promote another version, or override it anew"
            notify(params.notify, "release", f"{live.name} is live on an override that has ended", body, say=say)
        waiting = pending(entries) if params.release.automatic else None
        if waiting is None or waiting.commit is None or under_way(STATE):
            return
        if self.clock() < max(self.not_before, waiting.moment + self.patience):
            return
        say(f"the PROMOTE of model {waiting.model_version} was left without a release; it is released now")
        try:
            release(self.root, waiting.commit, who=BY_ITSELF, why=waiting.why, settings=params.release, awaited=True, say=say)
        except Overtaken as others:
            say(str(others))
        except EvergreenError as fault:
            count = self.failures[waiting.commit] = self.failures.get(waiting.commit, 0) + 1
            self.not_before = self.clock() + min(LONGEST_PAUSE, 30.0 * 2**count)
            if count == 1:
                notify(params.notify, "failure", f"the release of model {waiting.model_version} fails", str(fault), say=say)


if __name__ == "__main__":
    rounds("flows.running.tending", lambda root: Tending(root).attend, every=EVERY)
