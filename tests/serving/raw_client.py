"""A client that keeps no rule of HTTP: sends bytes as told, and reads what comes back meanwhile."""

import json
import re
import select
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

PATIENCE = 30.0  # seconds; a server that is silent for longer has failed
# A pickle, written by hand: whoever loads it ends at once, with status 7, so that no server survives having done so.
PICKLE = b"cos\n_exit\n(I7\ntR."


@dataclass(frozen=True)
class Got:
    """What came back: `status` of the last answer (0: none), its body, all statuses, and whether the server closed."""

    status: int
    body: bytes
    statuses: tuple[int, ...]
    closed: bool
    sent: int

    def json(self) -> dict:
        return json.loads(self.body)


def connect(port: int) -> socket.socket:
    opened = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened


def send(port: int, pieces: Iterable[bytes], *, answers: int = 1, pause: float = 0.0) -> Got:
    """Send the pieces, `pause` seconds apart, until so many final answers have come or the server has closed."""
    with connect(port) as opened:
        return talk(opened, pieces, answers=answers, pause=pause)


def talk(opened: socket.socket, pieces: Iterable[bytes], *, answers: int = 1, pause: float = 0.0) -> Got:
    coming, waiting, sent, got = iter(pieces), b"", 0, b""
    more, closed, end, next_at = True, False, time.monotonic() + PATIENCE, 0.0
    opened.setblocking(False)
    while time.monotonic() < end and not closed and len(complete(got)) < answers:
        now = time.monotonic()
        if more and not waiting and now >= next_at:
            waiting, next_at = next(coming, b""), now + pause
            more = bool(waiting)
        readable, writable, _ = select.select([opened], [opened] if waiting else [], [], 0.05)
        if writable:
            try:
                count = opened.send(waiting)
                waiting, sent = waiting[count:], sent + count
            except (BrokenPipeError, ConnectionResetError):
                waiting, more = b"", False
        if readable:
            try:
                read = opened.recv(65536)
            except ConnectionResetError:
                read = b""
            got, closed = got + read, not read
    found = complete(got)
    status, body = found[-1] if found else (0, b"")
    return Got(status, body, tuple(one for one, _ in found), closed, sent)


def complete(got: bytes) -> list[tuple[int, bytes]]:
    """Return the whole answers at the beginning of these bytes: status and body, 100 Continue left out."""
    found = []
    while match := re.match(rb"HTTP/1\.1 (\d{3})[^\r]*\r\n(.*?)\r\n\r\n|HTTP/1\.1 (100) Continue\r\n\r\n", got, re.DOTALL):
        got = got[match.end() :]
        if match[1] in (None, b"100"):
            continue
        length = re.search(rb"(?i)content-length: (\d+)", match[2])
        size = int(length[1]) if length else 0
        if len(got) < size:
            break
        found.append((int(match[1]), got[:size]))
        got = got[size:]
    return found


def post(body: bytes, path: str = "/predict", kind: str | None = "application/json", **headers: str) -> bytes:
    """Return a request with this body."""
    named = {"Host": "127.0.0.1", "Content-Length": str(len(body)), **({"Content-Type": kind} if kind is not None else {})}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body


def chunked(chunks: Iterable[bytes], path: str = "/predict") -> Iterable[bytes]:
    """Give a request whose body comes in chunks and has no end."""
    yield f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    for chunk in chunks:
        yield b"%x\r\n%s\r\n" % (len(chunk), chunk)


def answers(port: int) -> bool:
    """Return whether a proper request is answered properly."""
    with suppress(OSError):
        return send(port, [post(b'{"text": "card please"}')]).status == 200
    return False
