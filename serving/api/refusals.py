"""How a request is refused: in JSON, in words, and so that the caller gets to read them even while still sending.

Knows nothing of why; whoever refuses raises `Refusal`.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.exchange import refusal
from serving.api.ports import Metrics

Headers = Iterable[tuple[bytes, bytes]]

DISCARD_SECONDS = 1.0  # spent on reading what a refused caller still sends ...
DISCARD_BYTES = 4_000_000  # ... and how much of it is read
SMALL = 65_536  # bytes of a body that is read to its end before the refusal, so that the connection can go on


class Refusal(Exception):
    """A request that is not answered. `reason` is one fixed word for the metrics; `content` replaces the words alone."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        reason: str,
        headers: Headers = (),
        content: Mapping[str, Any] | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.reason = status, message, reason
        self.headers, self.content, self.close = list(headers), content or refusal(message), close


class Gone(Exception):
    """The client has closed the connection: nobody is there to be answered."""


class Refusals:
    """ASGI layer: turns Refusal into an answer; of a body that was not read, reads and drops a bounded rest."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and answer for it where it is refused."""
        unread = Unread(scope, receive)
        try:
            await self.app(scope, unread.receive, send)
        except Refusal as refused:
            self.metrics.refused(refused.reason)
            await self._answer(refused, unread, send)
        except Gone:
            self.metrics.refused("gone")

    async def _answer(self, refused: Refusal, unread: "Unread", send: Send) -> None:
        early = False
        if not refused.close and unread.small:
            await unread.discard(DISCARD_SECONDS, SMALL)
        early = refused.close or not unread.ended
        body = encode(refused.content)
        headers = [*json_headers(body), *refused.headers, *([(b"connection", b"close")] if early else [])]
        await send({"type": "http.response.start", "status": refused.status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": early})
        if early:  # closing at once would reset the connection, and the caller would never read why
            await unread.discard(DISCARD_SECONDS, DISCARD_BYTES)
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class Unread:
    """Keeps account of whether a request's body has been read to its end."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        chunked = b"transfer-encoding" in headers
        self._receive = receive
        self.ended = not chunked and length == b"0"
        self.small = not chunked and len(length) <= 7 and length.isdigit() and int(length) <= SMALL and b"expect" not in headers

    async def receive(self) -> Message:
        """Receive as the server gives it."""
        message = await self._receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            self.ended = True
        return message

    async def discard(self, seconds: float, most: int) -> None:
        """Read on and drop, until the body ends, the time is up or it was too much."""
        read = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.ended and read < most:
                    read += len((await self.receive()).get("body", b""))


def encode(content: Any) -> bytes:
    """Return JSON as bytes; raises ValueError for a number that JSON has no word for."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace")


def json_headers(body: bytes) -> list[tuple[bytes, bytes]]:
    """Return the headers of a JSON body."""
    return [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]


async def reply(send: Send, status: int, body: bytes, headers: Headers = ()) -> None:
    """Send a JSON answer."""
    await send({"type": "http.response.start", "status": status, "headers": [*json_headers(body), *headers]})
    await send({"type": "http.response.body", "body": body})
