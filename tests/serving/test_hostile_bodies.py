"""Bodies that are no request, in every disguise: each is refused with a 4xx, none is unpacked, and the service goes on."""

import json

import pytest

from tests.serving.hostile import Served, refused
from tests.serving.raw_client import PICKLE, post, send
from tests.serving.served import LIMITS

pytestmark = pytest.mark.usefixtures("stays_well")

BODIES = {
    "nan": b'{"text": NaN}',
    "infinity": b'{"texts": [Infinity, -Infinity]}',
    "nan as text's neighbour": b'{"text": "a", "groups": {"a": NaN}}',
    "deep lists": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"text":' * 100_000,
    "deep in texts": b'{"texts": [' + b"[" * 100_000,
    "bad utf-8": b'{"text": "\xff\xfe"}',
    "utf-16": '{"text": "card"}'.encode("utf-16"),
    "byte-order mark": b"\xef\xbb\xbf" + b'{"text": "card"}',
    "lone surrogate": b'{"text": "\\ud83d"}',
    "surrogates swapped": b'{"text": "\\ude00\\ud83d"}',
    "raw surrogate": b'{"text": "\xed\xa0\xbd"}',
    "null byte": b'{"text": "a\x00"}',
    "empty": b"",
    "spaces": b" " * 900_000,
    "word": b"card",
    "number": b"1e999999",
    "huge number": b"1" * 100_000,
    "string": b'"card"',
    "unclosed": b'{"text": "card',
    "unclosed escape": b'{"text": "\\',
    "twice": b'{"text": "a"}{"text": "b"}',
    "no texts": b'{"texts": []}',
    "too many texts": json.dumps({"texts": ["a"] * 9}).encode(),
    "huge list": b'{"texts": [' + b",".join([b'"a"'] * 200_000) + b"]}",
    "huge list of numbers": b'{"texts": [' + b"1," * 400_000 + b"1]}",
    "huge list of empties": b"[" + b"[]," * 200_000 + b"[]]",
    "many keys": b"{" + b",".join(b'"k%d":1' % number for number in range(80_000)) + b"}",
    "many groups": json.dumps({"text": "a", "groups": {f"g{number}": "a" for number in range(50_000)}}).encode(),
    "long text": json.dumps({"text": "a" * 10_001}).encode(),
    "long key": b'{"' + b"a" * 500_000 + b'": 1}',
    "escapes": b'{"text": "' + b"\\u0000" * 100_000 + b'"}',
    "backslashes": b'{"text": "' + b"\\\\" * 400_000 + b'"}',
    "both": b'{"text": "a", "texts": ["a"]}',
    "pickle": PICKLE,
    "gzip": b"\x1f\x8b\x08\x00" + b"\x00" * 100,
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("path", ["/predict", "/feedback"])
def test_bodies_that_are_no_request_are_refused(server: Served, path: str, body: bytes) -> None:
    got = send(server.port, [post(body, path)])
    refused(got, 400, 413)
    assert len(got.body) < 10_000  # a million faults are not told one by one


def test_the_largest_request_that_is_allowed_is_answered(server: Served) -> None:
    whole = "\U0001f600" * LIMITS.max_characters
    escaped = json.dumps({"texts": [whole] * LIMITS.max_texts})
    assert len(escaped) > 0.99 * (LIMITS.max_bytes - 1024)
    assert send(server.port, [post(escaped.encode())]).status == 200


KINDS = (
    None,
    "",
    "text/plain",
    "application/x-pickle",
    "application/vnd.bentoml+pickle",
    "application/octet-stream",
    "multipart/form-data; boundary=x",
    "application/x-www-form-urlencoded",
    "application/vnd.apache.arrow.stream",
    "application/json, application/vnd.bentoml+pickle",
    "application/json; charset=utf-16",
    "application/json; charset=latin-1",
    "application/jsonp",
    "APPLICATION/VND.BENTOML+PICKLE",
    "application/json\x0b",
    "application/json; a=b; charset=utf-7",
    "application/json/",
    "*/*",
    "application/x-ndjson",
)


@pytest.mark.parametrize("path", ["/predict", "/feedback", "/", "/metrics", "/livez", "/nothing", "/predict/", "//predict"])
@pytest.mark.parametrize("kind", KINDS, ids=repr)
def test_pickle_is_refused_under_every_route_and_spelling(server: Served, path: str, kind: str | None) -> None:
    got = send(server.port, [post(PICKLE, path, kind)])
    refused(got, 400, 404, 405, 415)


@pytest.mark.parametrize(
    "headers",
    [{"Content_Encoding": "gzip"}, {"Content_Encoding": "br, gzip"}, {"Content_Type": "application/json\r\nContent-Type: text/plain"}],
)
def test_other_encodings_are_refused(server: Served, headers: dict[str, str]) -> None:
    refused(send(server.port, [post(b'{"text": "card"}', **headers)]), 415)


def test_a_charset_of_utf_8_is_welcome(server: Served) -> None:
    for kind in ("application/json; charset=utf-8", "Application/JSON;charset=UTF-8", 'application/json; charset="utf-8"'):
        assert send(server.port, [post(b'{"text": "card"}', kind=kind)]).status == 200


def test_the_server_has_said_nothing(server: Served) -> None:
    """Whatever anybody sends, no line of the log comes of it but uvicorn's of its start; refusals are counted instead."""
    said = [line for line in server.said.read_text().splitlines() if not line.startswith("INFO:uvicorn.error:")]
    assert said == []
