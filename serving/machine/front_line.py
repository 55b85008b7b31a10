"""The front as its parent sees it: a process that is kept alive, and the line on which it is told what is live.

Knows nothing of the pointer; it is given routes, and says when the front has switched. `front.py` is the other end.
"""

import asyncio
import json
import os
import socket
import sys
from pathlib import Path

from evergreen.errors import ReleaseError
from evergreen.processes import die_with_parent
from evergreen.sections.loop import Serve
from serving.machine.children import Child, Say, launch
from serving.machine.fleet import Route

SECONDS_TO_SWITCH = 40.0
CODE = Path(__file__).resolve().parents[2]


class FrontLine:
    """The process that answers on the port, and the line on which it is told what is live."""

    def __init__(self, listening: socket.socket, home: Path, serve: Serve, say: Say) -> None:
        self._listening, self._home = listening, home
        self._hello = {"serve": serve.model_dump(mode="json")}
        self._route: Route | None = None
        self._line: asyncio.StreamWriter | None = None
        self._switched = asyncio.Condition()
        self._generation = 0
        self._refused: tuple[int, str] = (0, "")
        self._reader: asyncio.Task[None] | None = None
        self._pinged, self._answered = 0, 0
        self.child = Child("front", self._start, say, self._pulse)

    async def switch(self, route: Route) -> None:
        """Tell it what is live, and wait until it answers so; one that is being started again is told as soon as it is up."""
        self._route = route
        await self._tell()
        try:
            async with asyncio.timeout(SECONDS_TO_SWITCH), self._switched:
                await self._switched.wait_for(lambda: self._generation >= route.generation or self._refused[0] == route.generation)
        except TimeoutError:
            raise ReleaseError(f"the front has not switched within {SECONDS_TO_SWITCH:.0f} s") from None
        if self._generation < route.generation:
            raise ReleaseError(f"the front could not switch: {self._refused[1]}")

    async def _start(self) -> asyncio.subprocess.Process:
        ours, theirs = socket.socketpair()
        command = [
            sys.executable,
            "-m",
            "serving.machine.front",
            "--listening",
            str(self._listening.fileno()),
            "--line",
            str(theirs.fileno()),
        ]
        path = os.pathsep.join(filter(None, [str(CODE), os.environ.get("PYTHONPATH")]))
        environment = os.environ | {"PYTHONPATH": path, "EVERGREEN_HOME": str(self._home)}
        try:
            process = await launch(
                command, cwd=Path.cwd(), env=environment, preexec=die_with_parent, fds=(self._listening.fileno(), theirs.fileno())
            )
        finally:
            theirs.close()
        if self._reader is not None:
            self._reader.cancel()
        if self._line is not None:
            self._line.close()
        self._generation = 0
        reader, self._line = await asyncio.open_connection(sock=ours)
        self._reader = asyncio.create_task(self._hear(reader))
        self._line.write(json.dumps(self._hello).encode() + b"\n")
        await self._tell()
        return process

    async def _tell(self) -> None:
        if self._line is not None and self._route is not None and not self._line.is_closing():
            self._line.write(json.dumps(self._route.told()).encode() + b"\n")

    async def _pulse(self) -> None:
        self._pinged += 1
        wanted = self._pinged
        if self._line is not None:
            self._line.write(json.dumps({"ping": wanted}).encode() + b"\n")
        async with self._switched:
            await self._switched.wait_for(lambda: self._answered >= wanted)

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            told = json.loads(line)
            async with self._switched:
                if "pong" in told:
                    self._answered = told["pong"]
                elif "refused" in told:
                    self._refused = (told["refused"], told["why"])
                else:
                    self._generation = told["switched"]
                self._switched.notify_all()
