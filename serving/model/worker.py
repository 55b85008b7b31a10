"""A model in a process of its own, asked over a Unix socket: `python -m serving.model.worker --root SRC --socket PATH --threads N`.

The socket is there only after the model has given its recorded answers; then one line `ready VERSION` goes to the standard
output. SIGTERM: nothing new is taken, what was asked is answered, the process ends with status 0. The death of the parent
ends it. Knows nothing of HTTP, callers or other versions; takes whatever user may open the socket as its front.
"""

import argparse
import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from evergreen.errors import EvergreenError
from evergreen.processes import die_with_parent
from serving.model import golden, wire
from serving.model.backend import Model, UnusableText
from serving.model.engine import Engine

DRAIN = 30.0  # seconds for what was asked before SIGTERM, at most


class Worker:
    """Answers fronts that connect with what `model` says."""

    def __init__(self, model: Model, longest: int = wire.LONGEST) -> None:
        self._model, self._longest = model, longest
        self._fronts: set[asyncio.StreamWriter] = set()
        self._gone = asyncio.Event()
        self._draining = False

    async def serve(self, socket: Path, stop: asyncio.Event, ready: Any = None) -> None:
        """Listen until `stop` is set, then finish what was asked; calls `ready` once fronts can connect."""
        before = os.umask(0o077)  # the socket is for this user alone
        try:
            server = await asyncio.start_unix_server(self._front, socket, backlog=16)
        finally:
            os.umask(before)
        if ready:
            ready()
        await stop.wait()
        self._draining = True
        server.close()
        for writer in self._fronts:
            self._say(writer, {"draining": True})
        if self._fronts:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._gone.wait(), DRAIN)

    async def _front(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One front, from hello to its end; it closes the connection, also after `draining`."""
        asked: dict[int, asyncio.Task[None]] = {}
        self._fronts.add(writer)
        self._gone.clear()
        self._say(writer, wire.hello(self._model.about))
        if self._draining:
            self._say(writer, {"draining": True})
        try:
            while (message := await wire.read(reader, self._longest)) is not None:
                self._take(message, asked, writer)
                await writer.drain()
        except (wire.WireError, ConnectionError) as fault:
            print(f"a front's connection was closed: {fault}", file=sys.stderr, flush=True)
        finally:
            for task in asked.values():
                task.cancel()
            writer.close()
            self._fronts.discard(writer)
            if not self._fronts:
                self._gone.set()

    def _take(self, message: dict[str, Any], asked: dict[int, "asyncio.Task[None]"], writer: asyncio.StreamWriter) -> None:
        number, texts = message.get("id"), message.get("texts")
        if not isinstance(number, int):
            raise wire.WireError("a request without its number")
        if message.get("cancel"):
            if number in asked:
                asked[number].cancel()
            return
        if number in asked or not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise wire.WireError("a request without its texts, or with a number that is in use")
        asked[number] = task = asyncio.create_task(self._answer(number, texts, writer))
        task.add_done_callback(lambda _: asked.pop(number, None))

    async def _answer(self, number: int, texts: list[str], writer: asyncio.StreamWriter) -> None:
        try:
            self._say(writer, wire.answer(number, await self._model.judge(texts)))
        except UnusableText as fault:
            self._say(writer, {"id": number, "unusable": fault.places})
        except Exception as fault:  # whatever it was, its caller must hear of it; a message may hold a text, so only its kind is told
            print(f"a request failed: {type(fault).__name__}", file=sys.stderr, flush=True)
            self._say(writer, {"id": number, "error": type(fault).__name__})

    def _say(self, writer: asyncio.StreamWriter, content: dict[str, Any]) -> None:
        if not writer.is_closing():
            writer.write(wire.frame(content, self._longest))


def load(root: Path, threads: int) -> Engine:
    """Load a model and hold it to its recorded answers; raises GoldenError, or what says that its files are damaged."""
    engine = Engine(root, threads)
    try:
        engine.warm_up()
        golden.check(root, engine.about, engine.judge_at_once)
    except BaseException:
        engine.close()
        raise
    return engine


async def _main(engine: Engine, socket: Path) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await Worker(engine).serve(socket, stop, lambda: print(f"ready {engine.about.version}", flush=True))


def main() -> None:
    """Load, check, listen."""
    parser = argparse.ArgumentParser(prog="python -m serving.model.worker", description="Answer a front's requests with one model.")
    parser.add_argument("--root", type=Path, required=True, help="the Bento's src folder")
    parser.add_argument("--socket", type=Path, required=True, help="where to listen")
    parser.add_argument("--threads", type=int, required=True)
    given = parser.parse_args()
    parent = os.getppid()
    die_with_parent()
    if os.getppid() != parent:  # it died before it could be watched
        sys.exit("whoever started this worker has gone")
    try:
        engine = load(given.root, given.threads)
    except (EvergreenError, golden.GoldenError, OSError, ValueError) as fault:
        sys.exit(f"the model in {given.root} cannot be served: {fault}")
    asyncio.run(_main(engine, given.socket))
    engine.close()


if __name__ == "__main__":
    main()
