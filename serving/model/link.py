"""A model in other processes: what a front holds instead of an engine.

One connection to each worker of a version, made again for ever when it breaks. What a dead worker left unanswered is asked
again once: one request at a time, because one of them may have been what killed it. Knows nothing of HTTP, of starting
workers, or of other versions. To be used from one event loop.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from serving.model import wire
from serving.model.backend import About, Judged, NotReady, UnusableText

RETRY = 0.05  # seconds between tries to connect
RETRY_REFUSED = 1.0  # seconds, after a worker that is not of this version
TRIES = 2  # workers that one request may be given to
log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Request:
    number: int
    texts: int
    frame: bytes
    answer: "asyncio.Future[list[Judged]]"
    tries: int = 0
    lane: "_Lane | None" = None


class _Lane:
    """The connection to one worker, as long as it lasts."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.asked: dict[int, _Request] = {}
        self.texts = 0  # of what is asked
        self.draining = False


class Link:
    """Workers of one version behind their sockets; implements `backend.Model`.

    `root` is the version's `src` folder. With `about`, workers that introduce themselves otherwise are refused; without
    it the first worker says what the version is. `start` needs a running loop; `close` fails whatever still waits.
    """

    def __init__(self, sockets: Sequence[Path], root: Path, about: About | None = None, *, longest: int = wire.LONGEST) -> None:
        self._sockets, self._root, self._about, self._longest = tuple(sockets), root, about, longest
        self._numbers = count(1)
        self._lanes: set[_Lane] = set()
        self._waiting: deque[_Request] = deque()  # given to no worker yet
        self._suspects: deque[_Request] = deque()  # given to one that died
        self._suspect: _Request | None = None  # the one of them that is being asked again
        self._refusal: str | None = None
        self._open = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False
        self.lost = 0  # connections that ended though nobody had said so

    @property
    def about(self) -> About:
        """What the workers said; raises NotReady before the first did."""
        if self._about is None:
            raise NotReady(self._refusal or "no worker of this version has answered yet")
        return self._about

    @property
    def root(self) -> Path:
        """The folder of the version's Bento."""
        return self._root

    @property
    def connected(self) -> int:
        """Workers that can be asked now."""
        return sum(not lane.draining for lane in self._lanes)

    @property
    def waiting(self) -> int:
        """Texts that have no answer yet."""
        unsent = [*self._waiting, *self._suspects]
        return sum(request.texts for request in unsent) + sum(lane.texts for lane in self._lanes)

    def start(self) -> "Link":
        """Begin to connect."""
        self._tasks = [asyncio.get_running_loop().create_task(self._keep(socket)) for socket in self._sockets]
        return self

    async def ready(self) -> About:
        """Wait until a worker can be asked; the caller sets the limit."""
        await self._open.wait()
        return self.about

    async def close(self) -> None:
        """Close the connections; whoever still waits gets NotReady. Wait for `waiting` to be 0 first to be kind."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._fail(NotReady("this version is no longer in service"))

    async def judge(self, texts: Sequence[str]) -> list[Judged]:
        """Judge texts in their order, waiting for a worker as long as the caller does.

        Raises UnusableText; NotReady when workers died twice over these texts, or none of this version is to be had.
        """
        if not texts:
            return []
        if self._closed:
            raise NotReady("this version is no longer in service")
        if self._refusal and not self._lanes:
            raise NotReady(self._refusal)
        number = next(self._numbers)
        frame = wire.frame({"id": number, "texts": list(texts)}, self._longest)
        request = _Request(number, len(texts), frame, asyncio.get_running_loop().create_future())
        self._ask(request)
        try:
            return await request.answer
        except asyncio.CancelledError:
            self._forget(request)
            raise

    def _ask(self, request: _Request) -> None:
        """Give a request to the worker with the fewest texts, or keep it until there is one."""
        # One that has just broken stands here until its listener has heard of it; writing to it would be an error, under uvloop at once.
        open_lanes = (lane for lane in self._lanes if not lane.draining and not lane.writer.is_closing())
        lane = min(open_lanes, key=lambda lane: lane.texts, default=None)
        if lane is None:
            self._waiting.append(request)
            return
        request.tries += 1
        request.lane = lane
        lane.asked[request.number] = request
        lane.texts += request.texts
        lane.writer.write(request.frame)

    def _ask_next_suspect(self) -> None:
        while self._suspect is None and self._suspects and self.connected:
            request = self._suspects.popleft()
            if not request.answer.done():
                self._suspect = request
                self._ask(request)

    def _release(self, request: _Request) -> None:
        """Free the worker of a request that needs it no more."""
        lane, request.lane = request.lane, None
        if lane:
            del lane.asked[request.number]
            lane.texts -= request.texts
            if lane.draining and not lane.asked:
                lane.writer.close()
        if request is self._suspect:
            self._suspect = None
            self._ask_next_suspect()

    def _forget(self, request: _Request) -> None:
        """Drop the request of a caller who no longer waits."""
        if request.lane and not request.lane.writer.is_closing():
            request.lane.writer.write(wire.frame({"id": request.number, "cancel": True}))
        for queue in (self._waiting, self._suspects):
            with suppress(ValueError):
                queue.remove(request)
        self._release(request)

    async def _keep(self, socket: Path) -> None:
        """Keep a connection to a worker, for ever."""
        while True:
            pause = RETRY
            try:
                reader, writer = await asyncio.open_unix_connection(socket)
            except OSError:
                await asyncio.sleep(pause)
                continue
            lane = _Lane(writer)
            try:
                await self._meet(lane, reader)
                await self._listen(lane, reader)
                self.lost += not lane.draining
            except wire.WireError as fault:
                log.error("worker at %s: %s; its connection was closed", socket.name, fault)
                pause = RETRY_REFUSED
            except OSError:
                self.lost += lane in self._lanes
            except Exception as fault:  # a fault of our own must not end the way to this worker; a message may hold a text: not told
                log.error("worker at %s: %s while listening; its connection was closed", socket.name, type(fault).__name__)
                pause = RETRY_REFUSED
            finally:
                self._part(lane)
            await asyncio.sleep(pause)

    async def _meet(self, lane: _Lane, reader: asyncio.StreamReader) -> None:
        """Hear who the worker is, and let it in."""
        message = await wire.read(reader, self._longest)
        if message is None:
            raise ConnectionResetError
        about = wire.introduced(message)
        if self._about not in (None, about):
            self._refusal = f"a worker of version {about.version} where {self.about.version} is wanted was refused"
            if not self.connected:
                self._fail(NotReady(self._refusal))
            raise wire.WireError(self._refusal)
        self._about, self._refusal = about, None
        self._lanes.add(lane)
        self._open.set()
        waiting, self._waiting = self._waiting, deque()
        for request in waiting:
            self._ask(request)
        self._ask_next_suspect()

    async def _listen(self, lane: _Lane, reader: asyncio.StreamReader) -> None:
        """Take answers until the connection ends."""
        while (message := await wire.read(reader, self._longest)) is not None:
            if message.get("draining"):
                lane.draining = True
                if not self.connected:
                    self._open.clear()
                if not lane.asked:
                    return
                continue
            number = message.get("id")
            request = lane.asked.get(number) if isinstance(number, int) else None
            if request is None:  # its caller has gone
                continue
            if not request.answer.done():
                _settle(request.answer, message)
            self._release(request)

    def _part(self, lane: _Lane) -> None:
        """Clear up after a connection: ask again what may be asked again."""
        lane.writer.close()
        self._lanes.discard(lane)
        if not self.connected:
            self._open.clear()
        for request in lane.asked.values():
            request.lane = None
            if request is self._suspect:
                self._suspect = None
            if request.answer.done():
                continue
            if request.tries < TRIES:
                self._suspects.append(request)
            else:
                request.answer.set_exception(NotReady("the model's process ended twice while it worked on this request"))
        lane.asked.clear()
        self._ask_next_suspect()

    def _fail(self, fault: NotReady) -> None:
        for request in [*self._waiting, *self._suspects]:
            if not request.answer.done():
                request.answer.set_exception(fault)
        self._waiting.clear()
        self._suspects.clear()


def _settle(answer: "asyncio.Future[list[Judged]]", message: dict[str, Any]) -> None:
    if "error" in message:
        answer.set_exception(RuntimeError(f"the model failed on a request: {message['error']}"))
    elif places := wire.unusable(message):
        answer.set_exception(UnusableText(places))
    else:
        answer.set_result(wire.answered(message))
