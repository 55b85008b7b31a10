"""The service inside a Bento: POST /predict, and what the service tells about itself.

To be imported inside a Bento alone (or the folder that one is built from): BentoML wants limits and timeout when the class is
defined, so they are read from the Bento's `service.json` at import. Everything worth a test without a server lies beside it.
"""

from functools import cache
from pathlib import Path
from types import SimpleNamespace

import bentoml
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import Receive, Scope, Send

from serving.about import pages
from serving.backend import About
from serving.exchange import Answer, refusal, request_model
from serving.guard import Guard
from serving.router import Router, UnusableText
from serving.settings import SETTINGS, Settings

ROOT = Path(__file__).resolve().parents[1]
KNOWN = Settings.load(ROOT / SETTINGS)
PredictRequest = request_model(KNOWN.limits)


@cache
def router() -> Router:
    """Return the model, loaded once in a process; building the Bento imports this module and needs none."""
    return Router.load(ROOT, KNOWN)


class Alone:
    """The one model there is."""

    challenger = None

    @property
    def champion(self) -> SimpleNamespace:
        """What the pages ask of it."""
        known = router().classifier
        return SimpleNamespace(root=ROOT, about=About(known.version, known.labels, known.calibration.threshold))


PAGES = pages(Alone())  # type: ignore[arg-type]


async def page(scope: Scope, receive: Receive, send: Send) -> None:
    """Show a page, or say that there is none."""
    await PAGES.get(scope["path"], PlainTextResponse("there is nothing here", status_code=404))(scope, receive, send)


@bentoml.service(name=KNOWN.name, workers=1, traffic={"timeout": KNOWN.limits.timeout})
@bentoml.asgi_app(page, path="/")
class Service:
    """Classifies texts, and says which ones a person should read."""

    def __init__(self) -> None:
        self.router = router()

    @bentoml.api(route="/predict")
    def predict(self, request: PredictRequest, /) -> Answer:  # type: ignore[valid-type]
        """Answer each text. Not `async`: BentoML then runs it in a thread, and the event loop stays free while the model works."""
        try:
            return self.router.answer(request.asked)
        except UnusableText as fault:
            return JSONResponse(refusal(str(fault)), status_code=400)  # type: ignore[return-value]


Service.add_asgi_middleware(Guard, path="/predict", request=PredictRequest, max_bytes=KNOWN.limits.max_bytes)
