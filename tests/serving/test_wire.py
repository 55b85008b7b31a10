"""Frames between the front and a worker."""

import asyncio
import struct

import pytest

from serving.model import wire
from serving.model.backend import About, Judged

pytestmark = pytest.mark.anyio


def reader(*parts: bytes) -> asyncio.StreamReader:
    found = asyncio.StreamReader()
    for part in parts:
        found.feed_data(part)
    found.feed_eof()
    return found


@pytest.mark.parametrize("text", ["card", "Grüße \U0001f600", 'quotes " and \\ and \n', "half a pair \ud83d", "", "\x00"])
async def test_texts_arrive_as_they_were_sent(text: str) -> None:
    judged = [Judged(text, (0.1, 0.9), 3)]
    message = await wire.read(reader(wire.frame(wire.answer(7, judged))))
    assert message is not None
    assert message["id"] == 7
    assert wire.answered(message) == judged


async def test_probabilities_arrive_to_the_last_bit() -> None:
    judged = [Judged("a", (1 / 3, 2 / 3, 1e-300), 1)]
    assert wire.answered(await wire.read(reader(wire.frame(wire.answer(1, judged)))) or {}) == judged


async def test_an_end_between_messages_is_an_end_and_within_one_a_fault() -> None:
    whole = wire.frame({"id": 1})
    stream = reader(whole)
    assert await wire.read(stream) == {"id": 1}
    assert await wire.read(stream) is None
    for cut in (2, 6):
        with pytest.raises(wire.WireError, match="within a message"):
            await wire.read(reader(whole[:cut]))


@pytest.mark.parametrize(
    "body", [b"card", b"[1]", b'"text"', b"{", b"\xff\xfe", b"[" * 200_000, b'{"a": 1} {"b": 2}'], ids=lambda body: repr(body[:9])
)
async def test_what_is_not_a_message_is_refused(body: bytes) -> None:
    with pytest.raises(wire.WireError):
        await wire.read(reader(struct.pack(">I", len(body)), body))


async def test_a_message_announced_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(wire.WireError, match=r"1,000 bytes announced; 999 are allowed"):
        await wire.read(reader(struct.pack(">I", 1000)), longest=999)


def test_a_message_too_long_to_be_taken_is_not_sent() -> None:
    with pytest.raises(wire.WireError, match="are allowed"):
        wire.frame({"texts": ["a" * 100]}, longest=99)


def test_who_speaks_another_protocol_is_refused() -> None:
    about = About("v1", ("a",), 0.5)
    assert wire.introduced(wire.hello(about)) == about
    with pytest.raises(wire.WireError, match="protocol 2"):
        wire.introduced(wire.hello(about) | {"protocol": 2})
    with pytest.raises(wire.WireError, match="introduction"):
        wire.introduced({"protocol": 1, "version": "v"})


@pytest.mark.parametrize("message", [{}, {"judged": None}, {"judged": [{}]}, {"judged": [{"text": "a", "probabilities": 1, "batch": 1}]}])
def test_half_an_answer_is_refused(message: dict) -> None:
    with pytest.raises(wire.WireError):
        wire.answered(message)


@pytest.mark.parametrize("places", [3, "1", ["1"], {"0": 1}])
def test_places_that_are_not_numbers_are_refused(places: object) -> None:
    with pytest.raises(wire.WireError):
        wire.unusable({"unusable": places})
