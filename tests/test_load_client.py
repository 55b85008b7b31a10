"""The client of `benchmarks.serve` measures what it says: tried on a server of a few lines."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from benchmarks._load import Load

pytestmark = pytest.mark.anyio
STALL = 0.4


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def server(
    status: Callable[[int], int] = lambda number: 200, stalls: Callable[[int], bool] = lambda number: False
) -> AsyncIterator[int]:
    """Answer each request with `status` of its number; where one `stalls`, everything stands still for STALL seconds."""
    number = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal number
        talks.add(asyncio.current_task())
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]) if b"ontent-" in head else 0
                await reader.readexactly(length)
                number += 1
                if stalls(number):
                    still.clear()
                    asyncio.get_running_loop().call_later(STALL, still.set)
                await still.wait()
                answer = b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\n{}" % status(number)
                writer.write(answer[:9])  # in pieces, as a network may
                await writer.drain()
                writer.write(answer[9:])
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    talks: set[asyncio.Task[None] | None] = set()
    still = asyncio.Event()
    still.set()
    listening = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        await asyncio.wait([talk for talk in talks if talk], timeout=60)


async def loaded(port: int, **plan: Any) -> dict[str, Any]:
    return await Load({"host": "127.0.0.1", "port": port, "bodies": [{"text": "ä"}], "seconds": 0.5, "seed": 1, **plan}).run()


async def test_in_a_closed_loop_every_answer_is_counted_by_its_status() -> None:
    async with server(status=lambda number: 429 if number % 2 else 200) as port:
        found = await loaded(port, callers=3)
    assert abs(found["statuses"][200] - found["statuses"][429]) <= 3
    assert (len(found["answered"]), len(found["refused"])) == (found["statuses"][200], found["statuses"][429])


async def test_in_an_open_loop_a_stall_shows_in_every_request_that_was_due_in_it() -> None:
    async with server(stalls=lambda number: number == 10) as port:
        found = await loaded(port, rate=200.0)
    delayed = [milliseconds for milliseconds in found["answered"] if milliseconds > STALL * 1e3 / 4]
    assert sum(found["statuses"].values()) == found["statuses"][200]
    assert len(delayed) >= 25  # about 60 were due in three quarters of the stall


async def test_health_is_looked_at_again_and_again() -> None:
    async with server() as port:
        found = await loaded(port, health="/livez")
    assert len(found["health"]) >= 2
