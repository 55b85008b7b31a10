"""BentoML's entry: the service and its model in one process, as `bentoml serve` and a container run it.

To be imported inside a Bento alone (or the folder that one is built from): BentoML wants name and timeout when the class is
defined, so they are read from the Bento's `service.json` at import. Every request is answered by our application before
BentoML's own routes and parsers see it; BentoML brings the process, the server and the image.
"""

import os
from pathlib import Path

import bentoml
from starlette.types import ASGIApp, Receive, Scope, Send

from evergreen.home import settle
from serving.alone import Alone
from serving.compose import Service as Composed
from serving.settings import SETTINGS, Settings

ROOT = Path(__file__).resolve().parents[1]
KNOWN = Settings.load(ROOT / SETTINGS)
# Our own deadline comes first, with words of its own; BentoML's stands behind it.
SPARE_SECONDS = 10


class Answers:
    """ASGI middleware that answers every request itself."""

    service: Composed | None = None  # set once the model is loaded: BentoML builds its middleware before

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; anything else (the server's own messages) is BentoML's."""
        if scope["type"] == "http" and self.service is not None:
            await self.service(scope, receive, send)
        else:
            await self.app(scope, receive, send)


@bentoml.service(
    name=KNOWN.name,
    workers=1,
    traffic={"timeout": KNOWN.limits.timeout + SPARE_SECONDS},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
class Service:
    """Classifies texts, and says which ones a person should read."""

    def __init__(self) -> None:
        # BentoML has moved into the Bento by now; the shell's word tells where it was started.
        settle(Path(os.environ.get("PWD") or "."), outside=ROOT.parent)
        models = Alone.load(ROOT, KNOWN.serve)
        self.composed = Composed(models, KNOWN.serve, KNOWN.limits)
        self.composed.start()
        Answers.service = self.composed

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def close(self) -> None:
        """Write what the request log still holds."""
        await self.composed.close()


Service.add_asgi_middleware(Answers)  # type: ignore[attr-defined]
