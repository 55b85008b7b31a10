"""A client that loads a service: closed loop (so many callers, each asks again when answered) or open loop (Poisson arrivals).

    python -m benchmarks._load < plan.json > result.json

A process of its own with hand-made HTTP/1.1 over keep-alive connections, cheap enough to share two cores with what it measures. In an open
loop latency counts from the moment a request was due, whether or not a connection was free: a slow service cannot hide by
slowing its callers. Knows nothing of models.
"""

import asyncio
import json
import random
import resource
import sys
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import uvloop

PATIENCE = 60.0  # seconds for the last answers
CONNECTIONS = 900  # of an open loop, at most
PROBE = 0.1  # seconds between looks at the service's health


class Connection(asyncio.Protocol):
    """One keep-alive connection: one request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.answer: asyncio.Future[int] | None = None
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport  # type: ignore[assignment]  # uvloop's is a transport by its methods alone

    def data_received(self, data: bytes) -> None:
        """Take what came; an answer is whole when its head and as many bytes as it announces are there."""
        self.received += data
        head, found, body = self.received.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"\r\ncontent-length:")[2].split(b"\r\n", 1)[0])
        if len(body) >= length:
            self.received = b""
            self._settle(int(head[9:12]))
            if b"connection: close" in head.lower():
                self.close()

    def connection_lost(self, fault: Exception | None) -> None:
        """Fail the request that waits, as status 0."""
        self.transport = None
        self._settle(0)

    def ask(self, request: bytes) -> "asyncio.Future[int]":
        """Send a request; its status is the future's result."""
        self.answer = asyncio.get_running_loop().create_future()
        if self.transport is None:
            self._settle(0)
        else:
            self.transport.write(request)
        return self.answer or _done(0)

    def close(self) -> None:
        """End the connection."""
        if self.transport:
            self.transport.close()
            self.transport = None

    def _settle(self, status: int) -> None:
        answer, self.answer = self.answer, None
        if answer and not answer.done():
            answer.set_result(status)


def _done(status: int) -> "asyncio.Future[int]":
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    future.set_result(status)
    return future


@dataclass
class Seen:
    """What was measured: milliseconds of the answers (200), those of the others, statuses, health."""

    answered: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    refused: list[float] = field(default_factory=list)
    health: list[float] = field(default_factory=list)

    def count(self, status: int, since: float) -> None:
        """Count one request."""
        self.statuses[status] += 1
        milliseconds = (time.perf_counter() - since) * 1e3
        (self.answered if status == 200 else self.refused).append(milliseconds)


class Load:
    """A plan at work: `host`, `port`, `bodies` to send in turn, `seconds`, and `callers`, `rate` or `health` (a path)."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan, self.seen = plan, Seen()
        head = f"POST /predict HTTP/1.1\r\nHost: {plan['host']}:{plan['port']}\r\nContent-Type: application/json\r\n"
        bodies = [json.dumps(body, ensure_ascii=False).encode() for body in plan["bodies"]]
        self.requests = [head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body for body in bodies]
        self.chance = random.Random(plan["seed"])

    async def connect(self) -> Connection:
        """Open a connection."""
        _, connection = await asyncio.get_running_loop().create_connection(Connection, self.plan["host"], self.plan["port"])
        return connection

    async def closed(self, seconds: float, count: bool) -> None:
        """Let every caller ask again as soon as it is answered."""
        end = time.perf_counter() + seconds

        async def caller() -> None:
            connection = await self.connect()
            while (now := time.perf_counter()) < end:
                status = await connection.ask(self.chance.choice(self.requests))
                if count:
                    self.seen.count(status, now)
                if connection.transport is None:
                    await asyncio.sleep(0.01)  # a service that hangs up is not to be hammered
                    connection = await self.connect()
            connection.close()

        await asyncio.gather(*(caller() for _ in range(self.plan["callers"])))

    async def open(self, seconds: float) -> None:
        """Send requests when they are due, however the earlier ones fare."""
        free: deque[Connection] = deque()
        tasks: set[asyncio.Task[None]] = set()
        made = 0

        async def one(due: float, request: bytes) -> None:
            nonlocal made
            status = 0
            try:
                while free and free[-1].transport is None:
                    free.pop()
                    made -= 1
                if not free:
                    made += 1
                connection = free.pop() if free else await self.connect()
                status = await connection.ask(request)
                free.append(connection)
            except OSError:
                made -= 1
            self.seen.count(status, due)

        start = time.perf_counter()
        due = start
        while (due := due + self.chance.expovariate(self.plan["rate"])) < start + seconds:
            wait = due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            if made - len(free) >= CONNECTIONS:
                self.seen.count(-1, due)  # not sent: this client has no more connections
                continue
            task = asyncio.create_task(one(due, self.chance.choice(self.requests)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if tasks:
            await asyncio.wait(tasks, timeout=PATIENCE)
        self.seen.statuses[0] += len(tasks)
        for connection in free:
            connection.close()

    async def look(self) -> None:
        """Ask for the service's health again and again, each time on a connection of its own."""
        request = f"GET {self.plan['health']} HTTP/1.1\r\nHost: {self.plan['host']}:{self.plan['port']}\r\n\r\n".encode()
        while True:
            start = time.perf_counter()
            connection = await self.connect()
            try:
                status = await connection.ask(request)
            finally:
                connection.close()
            self.seen.health.append((time.perf_counter() - start) * 1e3 if status == 200 else float("inf"))
            await asyncio.sleep(PROBE)

    async def run(self) -> dict[str, Any]:
        """Do as planned and return what was seen."""
        warm = self.plan.get("warm", 0)
        if warm:
            await self.closed(warm, count=False)
        start = time.perf_counter()
        if self.plan.get("health"):
            with suppress(TimeoutError):
                await asyncio.wait_for(self.look(), self.plan["seconds"])
        else:
            await (self.open(self.plan["seconds"]) if self.plan.get("rate") else self.closed(self.plan["seconds"], count=True))
        took = time.perf_counter() - start
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "seconds": took,
            "answered": self.seen.answered,
            "refused": self.seen.refused,
            "statuses": dict(self.seen.statuses),
            "health": self.seen.health,
            "cpu": used.ru_utime + used.ru_stime,
        }


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        json.dump(runner.run(Load(json.load(sys.stdin)).run()), sys.stdout)
