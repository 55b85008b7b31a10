"""The outermost layer: headers that every answer carries, HEAD without a body, a count of every request, and the last resort.

An error that nobody foresaw is answered with 500 and logged by its type and place. Never by its words: they may hold what a
customer wrote.
"""

import logging
import time
import traceback
from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.exchange import refusal
from serving.api.ports import Metrics
from serving.api.refusals import encode, reply

log = logging.getLogger("evergreen.serving")

ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
UNLESS_SET = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    (b"cache-control", b"no-store"),
)
HSTS = (b"strict-transport-security", b"max-age=31536000")


class LastResort:
    """ASGI layer around everything. `paths` are the routes that the metrics may name; any other is "other"."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: Collection[str]) -> None:
        self.app, self.metrics, self.paths = app, metrics, frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; start and stop with the server; close what is no HTTP."""
        if scope["type"] == "lifespan":
            return await _live(receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1003})
        out = _Out(scope, send)
        start = time.perf_counter()
        try:
            await self.app(scope, receive, out.send)
        except Exception as fault:
            log.error("unforeseen: %s", place_of(fault))
            if out.status:  # half an answer is out: all that is left is to break the connection, without the error's words
                raise ConnectionAbortedError("an answer broke off; the line before says where") from None
            await reply(out.send, 500, encode(refusal("something went wrong here; it was not your request, and it has been logged")))
        finally:
            route = scope["path"] if scope["path"] in self.paths else "other"
            self.metrics.request(route, out.status or 499, time.perf_counter() - start)


class _Out:
    """What goes out: adds the headers, drops the body of an answer to HEAD, remembers the status."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._send, self._head, self._tls = send, scope["method"] == "HEAD", scope.get("scheme") == "https"
        self.status = 0

    async def send(self, message: Message) -> None:
        """Send with the headers that every answer carries."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message.get("headers", []))
            names = {name.lower() for name, _ in headers}
            headers += [*ALWAYS, *(pair for pair in UNLESS_SET if pair[0] not in names), *([HSTS] if self._tls else [])]
            message = {**message, "headers": headers}
        elif self._head and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self._send(message)


def place_of(fault: BaseException) -> str:
    """Return the type of an error and where it was raised, and the same of what caused it: no words, no values."""
    told: list[str] = []
    seen: BaseException | None = fault
    while seen is not None and len(told) < 4:
        frames = traceback.extract_tb(seen.__traceback__)
        where = f" at {frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name}" if frames else ""
        told.append(type(seen).__name__ + where)
        seen = seen.__cause__ or seen.__context__
    return ", from ".join(told)


async def _live(receive: Receive, send: Send) -> None:
    """Answer the server's start and stop; whoever builds the app opens and closes what it needs."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
