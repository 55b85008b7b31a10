"""A request's body, read under bounds: of kind, of size, of time, and of the memory of all bodies together.

Knows nothing of what the body should say.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import Receive, Scope

from serving.api.pressure import Memory
from serving.api.refusals import Gone, Refusal

BODY_SECONDS = 20.0  # from the headers to the end of the body
MOST_DIGITS = 18  # of a Content-Length that is worth reading as a number


def only_json(scope: Scope) -> None:
    """Refuse what does not declare itself as plain JSON in UTF-8."""
    kinds = [value for name, value in scope["headers"] if name == b"content-type"]
    encodings = [value for name, value in scope["headers"] if name == b"content-encoding"]
    if len(kinds) != 1 or not _is_json(kinds[0]):
        raise Refusal(415, "send application/json in UTF-8", reason="content type", headers=[(b"accept", b"application/json")])
    if any(value.strip().lower() not in (b"", b"identity") for value in encodings):
        raise Refusal(415, "send the body as it is, without Content-Encoding", reason="content encoding")


def _is_json(kind: bytes) -> bool:
    name, *parameters = (part.strip().lower() for part in kind.split(b";"))
    return name == b"application/json" and all(part in (b"", b"charset=utf-8", b'charset="utf-8"') for part in parameters)


@asynccontextmanager
async def whole_body(scope: Scope, receive: Receive, *, most: int, memory: Memory, seconds: float = BODY_SECONDS) -> AsyncIterator[bytes]:
    """Give the whole body, or refuse it as soon as it is too large (413) or too slow (408). Its memory is held meanwhile."""
    _check_length(scope, most)
    who = scope["caller"].key_id if "caller" in scope else ""
    body = bytearray()
    try:
        try:
            async with asyncio.timeout(seconds) as patience:
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Gone
                    chunk = message.get("body", b"")
                    if len(body) + len(chunk) > most:
                        raise too_large(most)
                    memory.hold(len(chunk), who)
                    body += chunk
                    if not message.get("more_body", False):
                        break
        except TimeoutError:
            if not patience.expired():
                raise
            raise Refusal(408, f"the body did not arrive within {seconds:g} s", reason="slow body", close=True) from None
        yield bytes(body)
    finally:
        memory.free(len(body), who)


def _check_length(scope: Scope, most: int) -> None:
    for name, value in scope["headers"]:
        if name == b"content-length" and (len(value) > MOST_DIGITS or int(value) > most):
            raise too_large(most)


def too_large(most: int) -> Refusal:
    """Return the refusal of a body above `most` bytes."""
    return Refusal(413, f"a request may have at most {most:,} bytes", reason="size", close=True)
