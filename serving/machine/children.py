"""Processes that are kept alive: started, waited for until they say that they are ready, started again when they die or hang.

Knows nothing of what they do. A child says `ready` at the beginning of a line on its standard output; its other lines, and
what it says on standard error, are passed on.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections import deque
from collections.abc import Awaitable, Callable

Say = Callable[[str], None]
Launch = Callable[[], Awaitable[asyncio.subprocess.Process]]
Pulse = Callable[[], Awaitable[None]]

LONGEST_PAUSE = 1.0  # seconds between two attempts at starting what dies again and again
STEADY = 10.0  # seconds after which a child counts as healthy, and its next death as the first
GRACE = 45.0  # seconds that a child may take to finish when it is told to end: a deadline of 30 s, and the last rows of the request log
PULSE = 5.0  # seconds between two looks whether a child still answers, and seconds that an answer may take
MISSED = 2  # looks without an answer after which a child that hangs is killed, and so started again


class ChildError(RuntimeError):
    """A child ended before it was ready; the message is the last that it said."""


class Child:
    """A process kept alive from `start` to `stop`.

    `launch` starts it, and is called again after each death. `pulse` returns when the process answers; one that does not
    (its event loop hangs, or it was stopped) is killed after a while.
    """

    def __init__(self, name: str, launch: Launch, say: Say, pulse: Pulse | None = None) -> None:
        self.name, self._launch, self._say, self._pulse = name, launch, say, pulse
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._ending = False
        self._words: deque[str] = deque(maxlen=20)
        self.restarts = 0
        self.ready = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The number of the process that runs now, if any."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self, seconds: float) -> None:
        """Start it and wait until it is ready; raises ChildError when it ends first, or is not ready in time. Then it is gone."""
        try:
            async with asyncio.timeout(seconds):
                await self._start_once()
        except TimeoutError:
            await self.stop(grace=0)
            raise ChildError(f"{self.name} was not ready after {seconds:.0f} s; it said: {self.words}") from None
        except BaseException:
            await self.stop(grace=0)
            raise
        self._keeper = asyncio.create_task(self._keep())
        if self._pulse is not None:
            self._watcher = asyncio.create_task(self._watch(self._pulse))

    @property
    def words(self) -> str:
        """The last that it said, the names of errors' places left out."""
        spoken = [line for line in self._words if line and not line.startswith((" ", "Traceback"))]
        return " ".join(spoken[-3:]) or "nothing"

    async def stop(self, grace: float = GRACE) -> None:
        """Let it finish its work and end; by force after `grace` seconds."""
        self._ending = True
        if self._watcher is not None:
            self._watcher.cancel()
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM if grace else signal.SIGKILL)
            try:
                async with asyncio.timeout(grace or GRACE):
                    await process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if self._keeper is not None:
            await self._keeper
            self._keeper = None

    async def _start_once(self) -> None:
        self._words.clear()
        self.ready.clear()
        self._process = process = await self._launch()
        if self._ending:  # told to end while it was being started again
            process.kill()
        loop = asyncio.get_running_loop()
        said_ready = loop.create_future()
        listener = asyncio.create_task(self._listen(process, said_ready))
        ended = asyncio.create_task(process.wait())
        await asyncio.wait([said_ready, ended], return_when=asyncio.FIRST_COMPLETED)
        if not said_ready.done():
            await listener
            said_ready.cancel()
            raise ChildError(f"{self.name} ended before it was ready ({_how(process.returncode)}); it said: {self.words}")
        self.ready.set()

    async def _keep(self) -> None:
        pause = 0.0
        while not self._ending:
            born = time.monotonic()
            if self._process is not None:
                await self._process.wait()
            self.ready.clear()
            if self._ending:
                return
            died = time.monotonic()
            pause = 0.0 if died - born > STEADY else min(LONGEST_PAUSE, 2 * pause + 0.05)
            await asyncio.sleep(pause)
            if self._ending:
                return
            status = self._process.returncode if self._process else None
            try:
                await self._start_once()
            except ChildError as fault:
                self._say(str(fault))
            else:
                self.restarts += 1
                self._say(f"{self.name} had died ({_how(status)}) and is ready again after {time.monotonic() - died:.1f} s")

    async def _watch(self, pulse: Pulse) -> None:
        missed = 0
        while True:
            await asyncio.sleep(PULSE)
            if not self.ready.is_set():
                missed = 0
                continue
            try:
                async with asyncio.timeout(PULSE):
                    await pulse()
            except (TimeoutError, OSError, EOFError):
                missed += 1
            else:
                missed = 0
            if missed >= MISSED and self._process is not None and self._process.returncode is None:
                self._say(f"{self.name} has not answered for {MISSED * PULSE:.0f} s; it is killed and started again")
                self._process.kill()

    async def _listen(self, process: asyncio.subprocess.Process, said_ready: asyncio.Future[None]) -> None:
        """Pass on what the child says, until it ends."""

        async def one(stream: asyncio.StreamReader | None, *, announces: bool) -> None:
            while stream is not None and (raw := await _line(stream)):
                line = raw.decode("utf-8", "replace").rstrip()
                if announces and line.startswith("ready"):
                    if not said_ready.done():
                        said_ready.set_result(None)
                    continue
                self._words.append(line)
                if said_ready.done():  # before that, what it said stands in the error
                    self._say(f"{self.name}: {line}")

        await asyncio.gather(one(process.stdout, announces=True), one(process.stderr, announces=False))


async def _line(stream: asyncio.StreamReader) -> bytes:
    """Return the next line; one longer than the reader's limit is cut into pieces rather than ending the listening."""
    try:
        return await stream.readuntil(b"\n")
    except asyncio.IncompleteReadError as rest:
        return rest.partial
    except asyncio.LimitOverrunError as much:
        return await stream.read(much.consumed or 1)


def _how(status: int | None) -> str:
    if status is None:
        return "not started"
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"status {status}"


async def launch(
    command: list[str], *, cwd: str | os.PathLike[str], env: dict[str, str], preexec: Callable[[], None], fds: tuple[int, ...] = ()
) -> asyncio.subprocess.Process:
    """Start a process in a group of its own, so that Ctrl-C at the terminal reaches the supervisor alone."""
    return await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        pass_fds=fds,
        preexec_fn=preexec,
        process_group=0,
    )
