"""The doorkeeper of /predict: refuses what is not JSON, too large or not a request, in a few words and without a traceback.

BentoML itself would try to unpack forms, files and Arrow tables, takes bodies of any size, and logs a traceback for each request
that breaks its model. Plain ASGI, knows nothing of the model behind it.
"""

from typing import Any

from pydantic import BaseModel, ValidationError
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.exchange import faults, refusal


class Guard:
    """ASGI middleware on one path: 415 for what is not JSON, 413 above `max_bytes`, 400 for what is no `request`."""

    def __init__(self, app: ASGIApp, path: str, request: type[BaseModel], max_bytes: int) -> None:
        self.app, self.path, self.request, self.max_bytes = app, path, request, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its whole body at hand, or refuse it."""
        if scope["type"] != "http" or scope["path"] != self.path or scope["method"] != "POST":
            return await self.app(scope, receive, send)
        headers = {name.lower(): value for name, value in scope["headers"]}
        kind = headers.get(b"content-type", b"application/json").split(b";")[0].strip().lower()
        if kind != b"application/json":
            return await _refuse(415, refusal("send application/json"), scope, receive, send)
        body = await _read(receive, self.max_bytes)
        if body is None:
            return await _refuse(413, refusal(f"a request may have at most {self.max_bytes:,} bytes"), scope, receive, send)
        try:
            self.request.model_validate_json(body)
        except ValidationError as fault:
            return await _refuse(400, faults(fault, self.request), scope, receive, send)
        await self.app(scope, _replay(body, receive), send)


async def _read(receive: Receive, limit: int) -> bytes | None:
    """Return the whole body, or None as soon as it exceeds the limit."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > limit:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that hands the body out once and then what the client sends next (its disconnect)."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


async def _refuse(status: int, content: dict[str, Any], scope: Scope, receive: Receive, send: Send) -> None:
    await JSONResponse(content, status_code=status)(scope, receive, send)
