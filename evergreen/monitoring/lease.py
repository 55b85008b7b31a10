"""Signs of life of a retraining: a thread that renews its claim while it works, and notices when the claim was lost.

    with kept(engine, claim) as lease:
        for step in work:
            lease.check()      # raises ClaimLost once the claim is another's
            step()

`lost` is called from the thread at that moment, for whoever must be stopped in the middle of a step; by itself that is SIGTERM to this
process, whose stages end with it. A database that is away is asked again, until the lease must have run out: from then on another
may have begun. Knows nothing of what is kept alive.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from evergreen.errors import ClaimLost
from evergreen.monitoring.slot import Claim, renew

SIGNS = 6  # of life within one lease


def end_this_process() -> None:
    """Ask this process to end, as a supervisor would."""
    os.kill(os.getpid(), signal.SIGTERM)


class Lease:
    """Whether the claim still holds, as far as is known here."""

    def __init__(self, engine: Engine, claim: Claim, lost: Callable[[], None]) -> None:
        self.engine, self.claim = engine, claim
        self._lost, self._over, self._end = lost, threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._renew, name=f"lease of {claim.id}", daemon=True)

    @property
    def held(self) -> bool:
        """Return whether nothing is known against it."""
        return not self._over.is_set()

    def check(self) -> None:
        """Raise ClaimLost where the claim is no longer ours."""
        if not self.held:
            raise ClaimLost(
                f"retraining {self.claim.id} gave no sign of life in time, and its place was given to others; nothing is released"
            )

    def start(self) -> None:
        """Begin to give signs of life."""
        self._thread.start()

    def stop(self) -> None:
        """Give no more; the claim itself is finished elsewhere."""
        self._end.set()
        self._thread.join()

    def _renew(self) -> None:
        seconds = self.claim.lease_seconds
        last = time.monotonic()
        while not self._end.wait(seconds / SIGNS):
            begun = time.monotonic()
            try:
                held = renew(self.engine, self.claim)
            except SQLAlchemyError:  # away, or busy
                held = time.monotonic() - last < seconds
            else:
                last = begun
            if not held:
                self._over.set()
                self._lost()
                return


@contextmanager
def kept(engine: Engine, claim: Claim, *, lost: Callable[[], None] = end_this_process) -> Iterator[Lease]:
    """Keep a claim alive while the block runs."""
    lease = Lease(engine, claim, lost)
    lease.start()
    try:
        yield lease
    finally:
        lease.stop()
