"""What the service tells about itself: GET / (a short page), /model, /card and /dossier. Nothing here loads from elsewhere."""

from collections.abc import Callable
from html import escape
from pathlib import Path
from string import Template

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from serving.router import Router
from serving.settings import CARD, DOSSIER, Settings

POLICY = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"}
INDEX = Path(__file__).parent / "pages" / "index.html"


def pages(root: Path, settings: Settings, router: Callable[[], Router]) -> Starlette:
    """Return the pages of the Bento whose files lie in `root`; `router` gives the loaded model."""

    def index(request: Request) -> Response:
        described = router().describe()
        page = Template(INDEX.read_text(encoding="utf-8")).substitute(
            title=escape(settings.title),
            name=escape(settings.name),
            version=escape(described["model_version"]),
            verdict=escape(settings.verdict),
            labels=", ".join(escape(label) for label in described["labels"]),
        )
        return HTMLResponse(page, headers=POLICY)

    def model(request: Request) -> Response:
        return JSONResponse(router().describe())

    def card(request: Request) -> Response:
        return PlainTextResponse((root / CARD).read_text(encoding="utf-8"), media_type="text/markdown", headers=POLICY)

    def dossier(request: Request) -> Response:
        return FileResponse(root / DOSSIER, media_type="text/html", headers=POLICY)

    return Starlette(routes=[Route("/", index), Route("/model", model), Route("/card", card), Route("/dossier", dossier)])
