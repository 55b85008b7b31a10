"""What the service tells about itself: the page at /, the dossier, the reference, the model and the API in JSON.

Each answer is about the version that is live at that moment. No page loads anything from elsewhere, and no script or style but its own.
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.api.refusals import Refusal, encode
from serving.model.backend import Models, NotReady
from serving.pages.facts import Facts, facts_of, told
from serving.pages.front_page import front_page
from serving.pages.openapi import openapi
from serving.pages.reference import reference

FILES = Path(__file__).parent / "static"
NOBODY = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
OWN = {"Content-Security-Policy": f"default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; {NOBODY}"}
# The dossier is one file: its style stands in it, and its icons and pictures too. It has no script.
ALONE = {"Content-Security-Policy": f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; {NOBODY}"}
ORIGIN = "http://where-the-caller-reached-us"
KINDS = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}


def pages(models: Models) -> dict[str, ASGIApp]:
    """Return the routes by path; each takes GET."""
    live: dict[str, Callable[[Facts, Request], Response]] = {
        "/": lambda facts, request: HTMLResponse(_front(facts), headers=OWN),
        "/card": lambda facts, request: HTMLResponse(facts.dossier, headers=ALONE),
        "/docs": lambda facts, request: HTMLResponse(_reference(facts).replace(ORIGIN, _origin(request)), headers=OWN),
        "/model": lambda facts, request: JSONResponse(told(facts)),
        "/openapi.json": lambda facts, request: Response(_openapi(facts), media_type="application/json"),
    }
    return {path: _Live(models, show) for path, show in live.items()} | {f"/{name}": _file(name) for name in ("page.css", "page.js")}


class _Live:
    """A route whose answer depends on the live version; 503 while there is none."""

    def __init__(self, models: Models, show: Callable[[Facts, Request], Response]) -> None:
        self.models, self.show = models, show

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            facts = facts_of(self.models.champion)
        except NotReady:
            raise Refusal(
                503, "no model can answer just now; come back in 1 s", reason="not ready", headers=[(b"retry-after", b"1")]
            ) from None
        await self.show(facts, Request(scope))(scope, receive, send)


# Made once for each version: they take tens of milliseconds, in which nobody else would be answered.
@lru_cache(maxsize=4)
def _front(facts: Facts) -> str:
    return front_page(facts)


@lru_cache(maxsize=4)
def _openapi(facts: Facts) -> bytes:
    return encode(openapi(facts))


@lru_cache(maxsize=4)
def _reference(facts: Facts) -> str:
    return reference(openapi(facts), origin=ORIGIN)


def _file(name: str) -> ASGIApp:
    """Return the route of a file that belongs to the code, not to a version."""

    async def send_file(scope: Scope, receive: Receive, send: Send) -> None:
        await Response(_read(name), media_type=KINDS[Path(name).suffix])(scope, receive, send)

    return send_file


@lru_cache
def _read(name: str) -> bytes:
    return (FILES / name).read_bytes()


def _origin(request: Request) -> str:
    """Return where the caller reached the service, as far as it can be repeated in a command line."""
    host = request.headers.get("host", "")
    plain = host and all(character.isalnum() or character in ".-:[]" for character in host) and host.isascii() and len(host) < 100
    return f"{request.url.scheme}://{host}" if plain else "http://127.0.0.1:3000"
