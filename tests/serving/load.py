"""Callers of a service, many at once, that count on their side what they were answered: for tests under load.

Plain sockets and hand-made HTTP, so that a reset, a cut answer or a closed connection shows as what it is.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

TEXTS = ("card please", "savings account help me", "fraud on my card today", "access access", "thanks with my thing savings please help me")
PATIENCE = 30.0


@dataclass
class Tally:
    """What callers saw: ids of the answers they got, versions, failures in words, the longest time that nobody was answered."""

    ids: list[str] = field(default_factory=list)
    versions: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    longest_gap: float = 0.0
    last: float = field(default_factory=time.monotonic)

    @property
    def answered(self) -> int:
        """Requests answered with 200."""
        return len(self.ids)

    def note(self, body: bytes) -> None:
        """Count an answer."""
        for prediction in json.loads(body)["predictions"]:
            self.ids.append(prediction["request_id"])
            self.versions[prediction["model_version"]] += 1
        now = time.monotonic()
        self.longest_gap = max(self.longest_gap, now - self.last)
        self.last = now


class Callers:
    """`keeping` callers with one connection each for ever, `fresh` ones with a new connection for each request."""

    def __init__(self, port: int, *, keeping: int, fresh: int, key: str | None = None, texts: Sequence[str] = TEXTS) -> None:
        self.port, self.tally, self.texts = port, Tally(), texts
        self._headers = f"authorization: Bearer {key}\r\n" if key else ""
        self._over = asyncio.Event()
        self._counts = (keeping, fresh)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Callers":
        keeping, fresh = self._counts
        self.tally.last = time.monotonic()
        self._tasks = [asyncio.create_task(self._call(number, keep=number < keeping)) for number in range(keeping + fresh)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over.set()
        await asyncio.gather(*self._tasks)

    async def until(self, met: Callable[[Tally], bool], seconds: float = 120.0) -> None:
        """Go on until the tally is as wanted; raises TimeoutError otherwise."""
        async with asyncio.timeout(seconds):
            while not met(self.tally):
                await asyncio.sleep(0.01)

    async def _call(self, number: int, *, keep: bool) -> None:
        line: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        turn = number
        while not self._over.is_set():
            turn += 1
            try:
                async with asyncio.timeout(PATIENCE):
                    line = line or await asyncio.open_connection("127.0.0.1", self.port)
                    status, body = await self._ask(line, self.texts[turn % len(self.texts)], keep=keep)
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as fault:
                self.tally.failures[type(fault).__name__] += 1
                line = _closed(line)
                await asyncio.sleep(0.01)
                continue
            if status == 200:
                self.tally.note(body)
            else:
                self.tally.failures[f"{status} {body[:80].decode('utf-8', 'replace')}"] += 1
                await asyncio.sleep(0.01)
            if not keep:
                line = _closed(line)
        _closed(line)

    async def _ask(self, line: tuple[asyncio.StreamReader, asyncio.StreamWriter], text: str, *, keep: bool) -> tuple[int, bytes]:
        reader, writer = line
        body = json.dumps({"text": text}).encode()
        closing = "" if keep else "connection: close\r\n"
        told = f"content-type: application/json\r\n{self._headers}{closing}content-length: {len(body)}\r\n"
        writer.write(f"POST /predict HTTP/1.1\r\nhost: localhost\r\n{told}\r\n".encode() + body)
        head_read = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head_read.split("content-length:")[1].split("\r\n")[0])
        return int(head_read.split(" ", 2)[1]), await reader.readexactly(length)


def _closed(line: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None) -> None:
    if line is not None:
        line[1].close()
