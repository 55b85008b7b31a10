"""How much the service takes on at once, and how long a request may take: admission in texts, memory in bytes, a deadline.

Knows nothing of who asks; see rate.py.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from math import ceil

from starlette.types import Receive

from serving.api.ports import Metrics
from serving.api.refusals import Gone, Refusal

LONGEST_WAIT = 60  # seconds that Retry-After asks for, at most
WINDOW = 5.0  # seconds over which the pace is measured
PATIENCE = 0.25  # seconds after which it is worth knowing whether the caller still waits


class Admission:
    """At most `limit` texts wait or are in work. A larger request passes when nothing else is there."""

    def __init__(self, limit: int, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit, self.metrics, self.clock = limit, metrics, clock
        self.texts = 0
        self._since, self._done, self._pace = clock(), 0, 0.0

    def check(self) -> None:
        """Refuse a request before it is read, when not one more text fits."""
        if self.texts >= self.limit:
            raise self._refusal(1)

    @contextmanager
    def claim(self, texts: int) -> Iterator[None]:
        """Hold room for these texts, or refuse them; the room is free again however the work ends."""
        if self.texts and self.texts + texts > self.limit:
            raise self._refusal(texts)
        self._change(texts)
        try:
            yield
        finally:
            self._change(-texts)
            self._done += texts

    def _change(self, texts: int) -> None:
        self.texts += texts
        self.metrics.queue(self.texts)

    def _refusal(self, texts: int) -> Refusal:
        wait = min(LONGEST_WAIT, max(1, ceil((self.texts + texts - self.limit / 2) / max(self.pace(), 1e-9))))
        message = f"too many texts are waiting ({self.texts} of at most {self.limit}); come back in {wait} s"
        return Refusal(429, message, reason="queue", headers=[(b"retry-after", str(wait).encode())])

    def pace(self) -> float:
        """Return the texts finished per second, over the last few seconds."""
        elapsed = self.clock() - self._since
        if elapsed >= WINDOW or not self._pace:
            pace = self._done / elapsed if elapsed > 0 else 0.0
            if elapsed >= WINDOW:
                self._since, self._done, self._pace = self.clock(), 0, pace
            return pace
        return self._pace


class Memory:
    """At most `limit` bytes of bodies are held at once, of all requests together; one caller's take no more than half of it."""

    def __init__(self, limit: int) -> None:
        self.limit, self.held = limit, 0
        self._of: dict[str, int] = {}  # key id -> bytes; only of those who hold any

    def hold(self, size: int, who: str = "") -> None:
        """Hold so many bytes more for a caller, or refuse them."""
        own = self._of.get(who, 0) + size
        if self.held + size > self.limit or own > self.limit // 2:
            raise Refusal(
                429, "too much is being sent at once; come back in 1 s", reason="memory", headers=[(b"retry-after", b"1")], close=True
            )
        self.held += size
        self._of[who] = own

    def free(self, size: int, who: str = "") -> None:
        """Give a caller's bytes back."""
        self.held -= size
        self._of[who] = self._of.get(who, 0) - size
        if self._of[who] <= 0:
            del self._of[who]


@asynccontextmanager
async def deadline(seconds: float, receive: Receive) -> AsyncIterator[None]:
    """Give up the work inside after so many seconds (Refusal, 504), or when its caller has gone (Gone).

    `receive` must have given the whole body: what comes next can only be the caller's leaving.
    """
    loop = asyncio.get_running_loop()
    watching: list[asyncio.Task[None]] = []
    left = False

    async def watch() -> None:
        nonlocal left
        while (await receive())["type"] != "http.disconnect":
            pass
        left = True
        timeout.reschedule(loop.time())

    # A task for every request would cost more than it saves: most are answered before their caller can lose patience.
    starting = loop.call_later(PATIENCE, lambda: watching.append(loop.create_task(watch())))
    try:
        async with asyncio.timeout(seconds) as timeout:
            yield
    except TimeoutError:
        if not timeout.expired():
            raise
        if left:
            raise Gone from None
        raise Refusal(504, f"no answer within {seconds:g} s; try again, or with fewer texts", reason="deadline") from None
    finally:
        starting.cancel()
        for task in watching:
            task.cancel()
