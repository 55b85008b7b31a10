"""Signs of life of a retraining: a thread that renews its claim while it works, and one that notices when the claim was lost.

    with kept(engine, claim) as lease:
        for step in work:
            lease.check()      # raises ClaimLost once the claim is another's
            step()

`lost` is called from a thread at that moment, for whoever must be stopped in the middle of a step; by itself that is SIGTERM to this
process, whose stages end with it. A database that is away is asked again, until the lease must have run out: from then on another
may have begun, whether or not the question that is under way comes back. Knows nothing of what is kept alive.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from evergreen.errors import ClaimLost
from evergreen.monitoring.log.database import described
from evergreen.monitoring.loop.slot import Claim, renew

SIGNS = 6  # of life within one lease
log = logging.getLogger("evergreen.lease")


def end_this_process() -> None:
    """Ask this process to end, as a supervisor would."""
    os.kill(os.getpid(), signal.SIGTERM)


class Lease:
    """Whether the claim still holds, as far as is known here."""

    def __init__(self, engine: Engine, claim: Claim, lost: Callable[[], None]) -> None:
        self.engine, self.claim = engine, claim
        self._until = time.monotonic() + claim.lease_seconds
        self._lost, self._over, self._end, self._lock = lost, threading.Event(), threading.Event(), threading.Lock()
        works = {"signs": self._renew, "end": self._watch}
        self._threads = [threading.Thread(target=work, name=f"{name} of {claim.id}", daemon=True) for name, work in works.items()]

    @property
    def held(self) -> bool:
        """Return whether nothing is known against it, and it cannot have run out."""
        return not self._over.is_set() and time.monotonic() < self._until

    def check(self) -> None:
        """Raise ClaimLost where the claim may no longer be ours."""
        if not self.held:
            raise ClaimLost(
                f"retraining {self.claim.id} gave no sign of life in time, and its place was given to others; nothing is released"
            )

    def start(self) -> None:
        """Begin to give signs of life."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Give no more; the claim itself is finished elsewhere."""
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _renew(self) -> None:
        while not self._end.wait(self.claim.lease_seconds / SIGNS):
            begun = time.monotonic()
            try:
                held = renew(self.engine, self.claim)
            except SQLAlchemyError:  # away, or busy; how long that may last is watched below
                continue
            except Exception as fault:  # nobody knows whether the next sign would be given
                return self._lose(f"signs of life have ended ({described(fault)})")
            if not held:
                return self._lose("its place was given to others")
            self._until = begun + self.claim.lease_seconds

    def _watch(self) -> None:
        """Notice that the lease has run out, although a sign of life that hangs says nothing."""
        while not self._end.wait(max(0.0, self._until - time.monotonic())):
            if not self.held:
                return self._lose(f"it gave no sign of life for {self.claim.lease_seconds:g} s")

    def _lose(self, why: str) -> None:
        with self._lock:
            known = self._over.is_set()
            self._over.set()
        if not known:
            log.error("retraining %s has lost its claim: %s; it is stopped", self.claim.id, why)
            self._lost()


@contextmanager
def kept(engine: Engine, claim: Claim, *, lost: Callable[[], None] = end_this_process) -> Iterator[Lease]:
    """Keep a claim alive while the block runs."""
    lease = Lease(engine, claim, lost)
    lease.start()
    try:
        yield lease
    finally:
        lease.stop()
