"""Inputs of the serving tests: a Bento's src folder around the tiny artifact, workers as processes, workers made of a script."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from evergreen.model.inference import Classifier
from serving.model import wire
from serving.model.backend import About
from tests.factories import LABELS
from tests.release_factories import SETTINGS, contents

ROOT = Path(__file__).parents[1]
# A worker that the text "poison" kills, as a fault in the runtime might.
POISONED = """
import os, signal
from serving.model import engine, worker

cleaned = engine.Engine._cleaned

def deadly(self, text):
    if text == "poison":
        os.kill(os.getpid(), signal.SIGKILL)
    return cleaned(self, text)

engine.Engine._cleaned = deadly
worker.main()
"""
GOLDEN_TEXTS = ("card please", "savings help me", "my access today", "fraud")
ABOUT = About("v1", ("no", "yes"), 0.7)


def bento(folder: Path, labels: Sequence[str] = LABELS) -> Path:
    """Lay out what a Bento's src folder holds beside its code, golden requests included, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    contents(folder, tuple(labels))
    (folder / "service.json").write_text(json.dumps(SETTINGS), encoding="utf-8")
    write_golden(folder)
    return folder


def write_golden(folder: Path, tolerance: float = 1e-4, **change: Any) -> None:
    """Write golden.json as the model of the folder answers; `change` overrides fields of its first example."""
    model = Classifier.load(folder / "artifact", folder / "calibration.json")
    rows = model.probabilities(GOLDEN_TEXTS).tolist()
    examples = [
        {"text": text, "label": model.labels[row.index(max(row))], "probabilities": row}
        for text, row in zip(GOLDEN_TEXTS, rows, strict=True)
    ]
    examples[0] |= change
    (folder / "golden.json").write_text(json.dumps({"examples": examples, "tolerance": tolerance}), encoding="utf-8")


@contextmanager
def worker(root: Path, socket: Path, threads: int = 1, code: str | None = None) -> Iterator["subprocess.Popen[str]"]:
    """Give a worker process that says it is ready; it is gone at the end, however it was left."""
    process = start_worker(root, socket, threads, code)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said.startswith("ready "), said
        yield process
    finally:
        process.kill()
        process.communicate()


def start_worker(root: Path, socket: Path, threads: int = 1, code: str | None = None) -> "subprocess.Popen[str]":
    """Start a worker process, from other code where given, without waiting for it."""
    command = [
        sys.executable,
        *(["-c", code] if code else ["-m", "serving.model.worker"]),
        "--root",
        str(root),
        "--socket",
        str(socket),
        "--threads",
        str(threads),
    ]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


class Actor:
    """A worker made of a script: it hands over what it is asked and says what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def hears(self) -> dict[str, Any] | None:
        """Return the next message; None when the front has gone."""
        return await wire.read(self.reader)

    def says(self, content: dict[str, Any]) -> None:
        """Send a message."""
        self.writer.write(wire.frame(content))

    def answers(self, number: int, *texts: str) -> None:
        """Send the answer to a request for these texts."""
        self.says({"id": number, "judged": [{"text": text, "probabilities": [0.25, 0.75], "batch": 1} for text in texts]})

    def dies(self) -> None:
        """End the connection."""
        self.writer.close()


@asynccontextmanager
async def stage(socket: Path, about: About = ABOUT) -> AsyncIterator["asyncio.Queue[Actor]"]:
    """Listen as a worker would; every connection becomes an Actor that has said hello."""
    actors: asyncio.Queue[Actor] = asyncio.Queue()
    all_of_them = []

    async def enter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        actor = Actor(reader, writer)
        all_of_them.append(actor)
        actor.says(wire.hello(about))
        await actors.put(actor)

    server = await asyncio.start_unix_server(enter, socket)
    try:
        yield actors
    finally:
        server.close()
        for actor in all_of_them:
            actor.dies()
