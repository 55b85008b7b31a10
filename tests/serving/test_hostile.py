"""Callers who mean harm, or have lost their way: each is refused with a 4xx (or the connection ends), and the service goes on."""

import itertools
import json
import socket
import time
from urllib.parse import quote, quote_plus

import pytest

from tests.personal_factories import planted
from tests.serving.hostile import Served, refused
from tests.serving.raw_client import PATIENCE, answers, chunked, complete, connect, post, send, talk
from tests.serving.served import CONNECTIONS, LIMITS, QUEUE

pytestmark = pytest.mark.usefixtures("stays_well")
MEGABYTE = b"x" * 2**20


def test_a_body_of_200_megabytes_is_refused_before_it_is_sent(server: Served) -> None:
    head = post(b"", Content_Length=str(200 * 2**20))
    got = send(server.port, itertools.chain([head], itertools.repeat(MEGABYTE, 200)))
    refused(got, 413)
    assert got.sent < 100 * 2**20


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer no"}, {"Content_Type": "text/plain"}])
def test_a_client_that_sends_all_before_it_reads_gets_to_read_why(server: Served, headers: dict[str, str]) -> None:
    with connect(server.port) as opened:
        opened.sendall(post(b" " * 3_000_000, **headers))  # a reset would end this, or leave nothing to read
        got = b""
        while piece := opened.recv(65536):
            got += piece
    assert complete(got)[0][0] in (413, 415)


def test_an_endless_chunked_body_is_refused_at_the_bound(server: Served) -> None:
    got = send(server.port, chunked(itertools.repeat(MEGABYTE)))
    refused(got, 413)


def test_an_endless_body_of_tiny_chunks_is_refused(server: Served) -> None:
    refused(send(server.port, itertools.chain(chunked([]), itertools.repeat(b"1\r\n \r\n" * 10_000))), 408, 413)


def test_endless_trailers_and_chunk_extensions_are_refused(server: Served) -> None:
    start = [*chunked([]), b"0\r\n"]
    assert send(server.port, itertools.chain(start, itertools.repeat(b"A: " + b"b" * 1000 + b"\r\n"))).status in (0, 400, 431)
    assert send(server.port, itertools.chain(start, [b"A: "], itertools.repeat(MEGABYTE))).status in (0, 400, 431)
    assert send(server.port, itertools.chain(chunked([]), [b"1;a="], itertools.repeat(MEGABYTE))).status in (0, 400, 431)


def test_headers_that_trickle_in_are_given_up(server: Served) -> None:
    pieces = [b"POST /predict HTTP/1.1\r\n", *(b"X-%d: a\r\n" % number for number in range(1000))]
    refused(send(server.port, pieces, pause=0.1), 408)


def test_a_body_that_trickles_in_is_given_up(server: Served) -> None:
    pieces = [post(b"", Content_Length="1000"), *([b" "] * 1000)]
    refused(send(server.port, pieces, pause=0.1), 408)


@pytest.mark.parametrize("pieces", [[b"\r\n"] * 1000, [b""]])
def test_a_connection_that_asks_nothing_is_closed(server: Served, pieces: list[bytes]) -> None:
    got = send(server.port, pieces, pause=0.1)
    assert (got.status, got.closed) == (0, True)


def test_an_answered_connection_that_trickles_nothing_is_closed(server: Served) -> None:
    with connect(server.port) as opened:
        assert talk(opened, [post(b'{"text": "card"}')]).status == 200
        assert talk(opened, [b"\r\n"] * 1000, pause=0.1).closed


@pytest.mark.parametrize(
    "head",
    [
        b"GET /livez HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /livez?" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n" + b"".join(b"X-%d: a\r\n" % number for number in range(20_000)) + b"\r\n",
    ],
    ids=["long", "long path", "many"],
)
def test_huge_headers_are_refused(server: Served, head: bytes) -> None:
    refused(send(server.port, [head]), 431)


def test_headers_without_end_are_refused(server: Served) -> None:
    got = send(server.port, itertools.chain([b"GET /livez HTTP/1.1\r\nX: "], itertools.repeat(MEGABYTE)))
    refused(got, 431)


@pytest.mark.parametrize("length", ["-1", "+5", "5, 5", "0x10", "1e3", "9" * 18, "9" * 40, "18446744073709551617", " ", "a"])
def test_absurd_lengths_are_refused(server: Served, length: str) -> None:
    refused(send(server.port, [post(b'{"text": "card"}', Content_Length=length)]), 400, 413)


SMUGGLED = b"0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 6\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 6",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding:\x0bchunked",
        b"Transfer-Encoding : chunked",
        b" Transfer-Encoding: chunked",
        b"X: a\nTransfer-Encoding: chunked",
        b"X: a\rContent-Length: 5",
    ],
    ids=repr,
)
def test_a_second_request_cannot_hide_in_the_first(server: Served, headers: bytes) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n" + headers + b"\r\n\r\n"
    got = send(server.port, [head + SMUGGLED], answers=2)
    refused(got)
    assert len(got.statuses) == 1 and got.closed


@pytest.mark.parametrize(
    "head",
    [
        b"\x16\x03\x01\x02\x00\x01",
        b"SSH-2.0-x\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"BREW /pot HTTP/1.1\r\n\r\n",
        b"GET http://a b HTTP/1.1\r\n\r\n",
        b"CONNECT a:443 HTTP/1.1\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=repr,
)
def test_what_is_not_http_is_refused(server: Served, head: bytes) -> None:
    refused(send(server.port, [head]))


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
def test_other_methods_are_refused(server: Served, method: str) -> None:
    refused(send(server.port, [f"{method} /predict HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()]), 405)


@pytest.mark.parametrize(
    "path", ["/../../etc/passwd", "/%2e%2e/keys.json", "/card/..%2fkeys.json", "/%00", "/predict%0d%0aX:1", "/%ff", "/;/livez"]
)
def test_odd_paths_lead_nowhere(server: Served, path: str) -> None:
    refused(send(server.port, [f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()]), 404)


@pytest.mark.parametrize("upgrade", ["websocket", "h2c"])
def test_an_offer_to_upgrade_is_overheard(server: Served, upgrade: str) -> None:
    offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": upgrade, "HTTP2-Settings": "AAA"}
    asked = post(b'{"text": "card"}', **offer)
    assert send(server.port, [asked * 2], answers=2).statuses == (200, 200)
    assert send(server.port, [bytes([byte]) for byte in asked]).status == 200
    health = f"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n\r\n".encode()
    assert send(server.port, [health, health], answers=2).statuses == (200, 200)
    refused(send(server.port, [post(b"", Content_Length="1000000000", **offer)]), 413)
    last = send(server.port, [health.replace(b"Upgrade\r\n", b"close, Upgrade\r\n", 1) + health], answers=2)
    assert (last.statuses, last.closed) == ((200,), True)
    # A proxy of the old kind is still known by its HTTP, and without keys nothing is told to it.
    refused(send(server.port, [asked.replace(b"HTTP/1.1", b"HTTP/1.0", 1)]), 403)


def test_a_body_that_nobody_asked_for_does_not_hold_a_connection(server: Served) -> None:
    head = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000000\r\n\r\n"
    with connect(server.port) as opened:
        assert talk(opened, [head]).status == 200
        assert talk(opened, itertools.repeat(b" "), pause=0.05).closed


def test_an_answer_that_nobody_reads_is_dropped(server: Served) -> None:
    with socket.socket() as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        opened.settimeout(PATIENCE)
        opened.connect(("127.0.0.1", server.port))
        opened.sendall(b"GET /large HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        here, end = opened.getsockname()[1], time.monotonic() + PATIENCE
        while here not in server.callers():
            assert time.monotonic() < end
        while here in server.callers():  # nothing tells this side: what is left waits in the kernel for a reader
            assert time.monotonic() < end
            time.sleep(0.05)


def test_requests_in_a_row_are_answered_in_order_up_to_a_bound(server: Served) -> None:
    two = send(server.port, [post(b'{"text": "card"}') + b"GET /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"], answers=2)
    assert two.statuses == (200, 404)
    flood = send(server.port, [post(b'{"text": "card"}') * 2000], answers=2000)
    assert flood.closed and set(flood.statuses) <= {200, 429} and len(flood.statuses) < 100


def test_a_client_that_leaves_takes_its_place_in_the_queue_with_it(server: Served) -> None:
    for _ in range(QUEUE + 10):
        with connect(server.port) as opened:
            opened.sendall(post(b'{"text": "card please"}'))
    deadline = time.monotonic() + 30  # on a busy machine the server hears late of those who have gone
    while not answers(server.port):
        assert time.monotonic() < deadline


def test_beyond_the_connections_there_is_room_for_health_alone(server: Served) -> None:
    idle = [connect(server.port) for _ in range(CONNECTIONS)]
    try:
        health = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        assert send(server.port, [health]).status == 200
        refused(send(server.port, [post(b'{"text": "card"}')]), 429)
        idle += [connect(server.port) for _ in range(200)]
        refused(talk(idle[-1], []), 429)  # before it has asked anything
    finally:
        for opened in idle:
            opened.close()
    end = time.monotonic() + 30
    while not answers(server.port):  # until the server has noticed that they are gone
        assert time.monotonic() < end
        time.sleep(0.05)


def test_nothing_personal_reaches_console_metrics_spool_or_request_log(server: Served) -> None:
    """1,000 planted strings, in every place of a request where one can stand."""
    told = planted(1000)
    for start in range(0, 1000, LIMITS.max_texts):
        part = told[start : start + LIMITS.max_texts]
        texts, (found, *_) = [text for text, _ in part], [found for _, found in part]
        assert send(server.port, [post(json.dumps({"texts": texts, "groups": {"a": found}}).encode())]).status == 200
        for path, body in (
            ("/predict", {"texts": [*texts, 1]}),
            ("/predict", {found: found}),
            ("/predict", {"text": "card", "groups": {found: found}}),
            ("/feedback", {"request_id": found, "label": found}),
            ("/feedback", {"request_id": "0" * 32, "label": found}),
        ):
            got = send(server.port, [post(json.dumps(body).encode(), path)])
            refused(got)
            assert found.encode() not in got.body
        refused(send(server.port, [post(json.dumps({"texts": texts})[:-1].encode())]))
        refused(send(server.port, [f"GET /{quote(found)}?a={quote_plus(found)} HTTP/1.1\r\nHost: a\r\n\r\n".encode()]))
    metrics = send(server.port, [b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"])
    kept = [file.read_bytes() for file in server.said.parent.rglob("*") if file.is_file() and "bento" not in file.parts]
    seen = b"".join([metrics.body, *kept]).decode(errors="replace")
    assert seen.count("[EMAIL]") >= 200 and "evergreen_refusals" in seen
    assert [found for _, found in told if found in seen or quote(found) in seen or quote_plus(found) in seen] == []


def test_the_server_has_said_nothing(server: Served) -> None:
    """Whatever anybody sends, no line of the log comes of it but uvicorn's of its start; refusals are counted instead."""
    said = [line for line in server.said.read_text().splitlines() if not line.startswith("INFO:uvicorn.error:")]
    assert said == []
