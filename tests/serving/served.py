"""A real server around the tiny model, for tests of what only a real server can show: `python -m tests.serving.served FOLDER`.

Prints its port, and then answers until its standard input is closed.
"""

import asyncio
import socket
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from evergreen.access import KeyRing
from evergreen.data.personal_data import KINDS
from evergreen.data.text import clean_text
from evergreen.model.inference import Classifier
from serving.app import build_app
from serving.backend import About, Judged, UnusableText
from serving.desk import Desk
from serving.health import Health
from serving.pressure import Admission
from serving.protocol import server_config
from serving.rate import Rate
from serving.settings import Limits
from tests.factories import tiny_artifact, tiny_calibration
from tests.serving_factories import FakeModels, FakeRecorder

LIMITS = Limits(max_texts=8, max_characters=10_000, timeout=10)
CONNECTIONS, HEADER_SECONDS, BODY_SECONDS = 50, 1.0, 1.0


class TinyModel:
    """The tiny artifact, in this process."""

    root = Path()

    def __init__(self, folder: Path) -> None:
        self.classifier = Classifier.load(tiny_artifact(folder / "artifact"), tiny_calibration(folder / "calibration.json", threshold=0.8))
        self.about = About(self.classifier.version, self.classifier.labels, 0.8)
        self.ready = True

    async def judge(self, texts: Sequence[str]) -> list[Judged]:
        cleaned = [clean_text(text, unicode_form="NFKC", masked=KINDS)[0] for text in texts]
        if empty := [place for place, text in enumerate(cleaned) if not text]:
            raise UnusableText(empty)
        rows = await asyncio.to_thread(self.classifier.probabilities, cleaned)
        return [Judged(text, tuple(row.tolist()), 1) for text, row in zip(cleaned, rows, strict=True)]


class CountingMetrics:
    """Counts calls by name and by whatever words they carry."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def __getattr__(self, name: str):
        return lambda *values: self.counts.update([" ".join([name, *(str(value) for value in values if not isinstance(value, float))])])

    def exposition(self) -> tuple[bytes, str]:
        return "\n".join(f"{name} {number}" for name, number in sorted(self.counts.items())).encode(), "text/plain; charset=utf-8"


def main(folder: Path) -> None:
    ring, metrics, recorder = KeyRing(folder / "keys.json"), CountingMetrics(), FakeRecorder()
    models = FakeModels(TinyModel(folder))
    app = build_app(
        Desk(models, recorder, metrics),
        {},
        ring,
        LIMITS,
        rate=Rate(1e6, 10**6),
        admission=Admission(64, metrics),
        health=Health(models, recorder, ring.fault),
        body_seconds=BODY_SECONDS,
    )
    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    server = uvicorn.Server(server_config(app, connections=CONNECTIONS, header_seconds=HEADER_SECONDS))
    threading.Thread(target=_end_with_input, args=(server,), daemon=True).start()
    print(listening.getsockname()[1], flush=True)
    server.run(sockets=[listening])


def _end_with_input(server: uvicorn.Server) -> None:
    sys.stdin.read()
    server.should_exit = True


if __name__ == "__main__":
    main(Path(sys.argv[1]))
