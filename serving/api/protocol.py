"""HTTP itself under bounds: bytes and seconds of headers, requests in a row, open connections. For uvicorn with httptools.

uvicorn waits for ever for headers to end, holds headers and pipelined requests without end, and counts connections only once
their headers are read. Knows nothing of routes, but that health must be answered when everything else is full.
"""

import asyncio
from typing import Any, ClassVar

import httptools
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.api.callers import is_loopback
from serving.api.exchange import refusal
from serving.api.health import LIVE, READY
from serving.api.last_resort import ALWAYS, UNLESS_SET
from serving.api.refusals import DISCARD_BYTES, DISCARD_SECONDS, encode, json_headers

HEADER_BYTES = 65_536
HEADER_SECONDS = 10.0  # from the first byte of a request, or the opening of the connection, to the end of the headers
IDLE_SECONDS = 60  # that an open connection may wait for its next request
STALL_SECONDS = 30.0  # that a client may take none of the answer that it asked for
IN_A_ROW = 16  # requests sent without waiting for answers
RESERVE = 32  # connections beyond the limit on which health alone is answered; as many again for this machine itself
WORTH = 16  # bytes on the wire for each byte of a body: chunks of a single byte take 6


class Breach(Exception):
    """A client breaks a bound of the protocol; raised in the parser's callbacks, and answered with `status`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Use `bounded` for a class with other bounds."""

    most_connections: ClassVar[int] = 1000
    header_seconds: ClassVar[float] = HEADER_SECONDS
    stall_seconds: ClassVar[float] = STALL_SECONDS

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._breach: Breach | None = None
        self._ended = False  # refused: what still comes is dropped
        self._between = True  # no request has begun, or the last one has arrived whole
        self._in_headers = False
        self._health_alone = False
        self._headers_left = HEADER_BYTES
        self._surplus = 0  # bytes that came, less what bodies were worth
        self._dropped = 0
        self._timer: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or refuse it where there are too many."""
        super().connection_made(transport)
        beyond = len(self.connections) - self.most_connections
        self._health_alone = beyond > 0
        if beyond > RESERVE * (2 if self.client is None or is_loopback(self.client[0]) else 1):
            self._refuse(Breach(429, "too many open connections; come back in 1 s"))
        else:
            self._wait_for_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_timer()
        self._stop_stall()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, unless this connection has been refused."""
        if self._ended:
            self._dropped += len(data)
            if self._dropped > DISCARD_BYTES:
                self.transport.close()
            return
        if self._between and self._timer is None:
            self._wait_for_headers()
        self._surplus += len(data)
        self._feed(data)
        if self._surplus > 2 * HEADER_BYTES and not self._ended and not self.transport.is_closing():
            self._refuse(Breach(431, f"headers may have at most {HEADER_BYTES:,} bytes"))

    def on_message_begin(self) -> None:
        """Begin a request with fresh bounds."""
        self._between, self._in_headers, self._headers_left, self._surplus = False, True, HEADER_BYTES, 0
        if self._timer is None:
            self._wait_for_headers()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the URL."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or one of the trailers behind a chunked body, of which nobody has need."""
        self._count(len(name) + len(value))
        if self._in_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the request, unless it came too soon behind others, or there is room for health alone."""
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                self._raise(400, "this is no proxy")
            return  # _without_upgrade begins again with the same headers
        self._in_headers = False
        self._stop_timer()
        if len(self.pipeline) >= IN_A_ROW:
            self._raise(429, f"more than {IN_A_ROW} requests in a row without waiting for an answer")
        if self._health_alone and self.url.partition(b"?")[0] not in (LIVE.encode(), READY.encode()):
            self._raise(429, "too many open connections; come back in 1 s")
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._surplus -= WORTH * len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request: the next one starts with its own patience."""
        if self._in_headers:  # an offer to upgrade ends the message for the parser
            return
        self._between = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on to the next request, unless this one's body was answered without being read."""
        super().on_response_complete()
        if self.cycle.response_complete and not self._between and not self.transport.is_closing():
            self._linger()

    def pause_writing(self) -> None:
        """Give a client that reads nothing a while, and then no more: its answer takes memory here."""
        self._stop_stall()
        self._stalled = self.loop.call_later(self.stall_seconds, self.transport.abort)
        super().pause_writing()

    def resume_writing(self) -> None:
        """Go on: the client reads."""
        self._stop_stall()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """End a connection that asks nothing more, even where its client has left a part of the last answer unread."""
        self.transport.abort()

    def _stop_stall(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _feed(self, data: bytes) -> None:
        """Parse, as uvicorn does, but without a line in the log for whatever anybody sends."""
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._without_upgrade(data[offer.args[0] :])
        except httptools.HttpParserError:
            self._refuse(self._breach or Breach(400, "this is not a request in HTTP/1.1"))

    def _without_upgrade(self, rest: bytes) -> None:
        """Begin again as if no upgrade had been offered: the parser takes what follows such an offer for another protocol.

        Some clients, Java's own among them, offer HTTP/2 with every request.
        """
        self._breach = None
        kept = [pair for pair in self.headers if pair[0] not in (b"upgrade", b"connection", b"http2-settings")]
        wishes = b",".join(value for name, value in self.headers if name == b"connection").split(b",")
        if any(wish.strip().lower() == b"close" for wish in wishes):
            kept.append((b"connection", b"close"))
        line = b"%s %s HTTP/%s\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        self.parser = httptools.HttpRequestParser(self)
        self._feed(b"".join([line, *(b"%s: %s\r\n" % pair for pair in kept), b"\r\n", rest]))

    def _count(self, size: int) -> None:
        self._headers_left -= size
        if self._headers_left < 0:
            self._raise(431, f"headers may have at most {HEADER_BYTES:,} bytes")

    def _raise(self, status: int, message: str) -> None:
        """Stop the parser: it reports whatever a callback raises as an error of its own."""
        self._breach = Breach(status, message)
        raise self._breach

    def _wait_for_headers(self) -> None:
        seconds = min(self.header_seconds, 2.0) if self._health_alone else self.header_seconds
        self._timer = self.loop.call_later(seconds, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self._ended or self.transport.is_closing():
            return
        if self._between and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()  # nothing was asked
        else:
            self._refuse(Breach(408, f"the headers did not arrive within {self.header_seconds:g} s"))

    def _refuse(self, breach: Breach) -> None:
        """Answer at once and end the connection; where another answer is on its way, end it behind that one."""
        self._stop_timer()
        if self._answering():
            self._ended, self.cycle.keep_alive = True, False  # no answer may overtake another: that one is the last
            return
        body = encode(refusal(breach.message))
        headers = [*json_headers(body), *ALWAYS, *UNLESS_SET, (b"connection", b"close")]
        if breach.status == 429:
            headers.append((b"retry-after", b"1"))
        self.transport.write(b"".join([STATUS_LINE[breach.status], *(b"%s: %s\r\n" % pair for pair in headers), b"\r\n", body]))
        self._linger()

    def _answering(self) -> bool:
        """Return whether an answer to an earlier request, or the beginning of one to this, is on its way."""
        if self.cycle is None or self.cycle.response_complete:
            return bool(self.pipeline)
        return bool(self.pipeline) or self._between or self._in_headers or self.cycle.response_started

    def _linger(self) -> None:
        """Close after a while of reading on: closing over unread bytes would reset the connection and lose the answer."""
        self._ended = True
        self._unset_keepalive_if_required()
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(DISCARD_SECONDS, self.transport.close)
        self.loop.call_later(10 * DISCARD_SECONDS, self.transport.abort)


def bounded(connections: int, *, header_seconds: float = HEADER_SECONDS, stall_seconds: float = STALL_SECONDS) -> type[BoundedProtocol]:
    """Return the protocol of a server with these bounds."""
    bounds = {"most_connections": connections, "header_seconds": header_seconds, "stall_seconds": stall_seconds}
    return type("BoundedProtocol", (BoundedProtocol,), bounds)


def server_config(
    app: ASGIApp, *, connections: int, header_seconds: float = HEADER_SECONDS, stall_seconds: float = STALL_SECONDS, **more: Any
) -> uvicorn.Config:
    """Return uvicorn's settings for the service: no access log (it would hold what callers wrote), no trust in proxies' headers."""
    settings: dict[str, Any] = {
        "http": bounded(connections, header_seconds=header_seconds, stall_seconds=stall_seconds),
        "ws": "none",
        "loop": "uvloop",
        "lifespan": "on",
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "timeout_keep_alive": IDLE_SECONDS,
        "backlog": 2048,
        "log_config": None,
    }
    return uvicorn.Config(app, **settings | more)
