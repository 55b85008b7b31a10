"""The whole service over a Bento's files, with the model in this process, on a port of this machine: for tests of pages and answers."""

import asyncio
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from evergreen.data.text import clean_text
from evergreen.model.inference import Classifier
from serving.api.protocol import server_config
from serving.model.backend import About, Judged, UnusableText
from serving.pages.about import pages
from serving.settings import ARTIFACT, CALIBRATION, SETTINGS, Settings
from tests.serving_factories import FakeModels, Service, service


class LoadedModel:
    """The model of a Bento, loaded into this process."""

    def __init__(self, bento: Path) -> None:
        self.root, self.ready = bento / "src", True
        self.settings = Settings.load(self.root / SETTINGS)
        self.classifier = Classifier.load(self.root / ARTIFACT, self.root / CALIBRATION)
        self.about = About(self.classifier.version, self.classifier.labels, self.classifier.calibration.threshold)

    async def judge(self, texts: Sequence[str]) -> list[Judged]:
        cleaning = self.settings.cleaning
        cleaned = [clean_text(text, unicode_form=cleaning.unicode_form, masked=cleaning.mask)[0] for text in texts]
        if empty := [place for place, text in enumerate(cleaned) if not text]:
            raise UnusableText(empty)
        rows = await asyncio.to_thread(self.classifier.probabilities, cleaned)
        return [Judged(text, tuple(row.tolist()), 1) for text, row in zip(cleaned, rows, strict=True)]


def live_service(bento: Path, keys: Path, **settings: Any) -> Service:
    """Return the service with all its pages over a Bento's files."""
    model = LoadedModel(bento)
    models = FakeModels(model)  # type: ignore[arg-type]
    return service(keys, models=models, limits=model.settings.limits, pages=pages(models), **settings)


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """Serve an app on a free port of this machine; give its address, and stop it at the end."""
    server = uvicorn.Server(server_config(app, connections=50))
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:  # who connects before it accepts waits in the backlog
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
