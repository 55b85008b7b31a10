"""What goes between the front and a worker: frames over a Unix socket, each 4 bytes of length (big-endian) and JSON.

    worker  {"protocol": 1, "version", "labels", "threshold"}                    once, when a front connects
    front   {"id": n, "texts": [...]}         {"id": n, "cancel": true}
    worker  {"id": n, "judged": [{"text", "probabilities", "batch"}, ...]}       in any order
            {"id": n, "unusable": [places]}   {"id": n, "error": "words"}
            {"draining": true}                ask nothing more: what was asked is still answered

Versions live side by side, and each ships its own half of this: a change needs another PROTOCOL. Knows nothing of models.
"""

import asyncio
import json
import struct
from collections.abc import Sequence
from typing import Any

from serving.model.backend import About, Judged

PROTOCOL = 1
LONGEST = 64 * 2**20  # bytes of a frame, at most: several times the largest request that any sensible limits allow
_LENGTH = struct.Struct(">I")
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode  # `json.dumps` would make an encoder for each message


class WireError(RuntimeError):
    """What came is not a frame of ours; the connection is of no more use."""


def frame(content: dict[str, Any], longest: int = LONGEST) -> bytes:
    """Return a message as bytes; raises WireError when it would be too long to be taken."""
    body = _encode(content).encode("utf-8", "surrogatepass")
    if len(body) > longest:
        raise WireError(f"a message of {len(body):,} bytes; {longest:,} are allowed")
    return _LENGTH.pack(len(body)) + body


async def read(reader: asyncio.StreamReader, longest: int = LONGEST) -> dict[str, Any] | None:
    """Return the next message, None when the other side has ended; raises WireError for anything else than a message."""
    try:
        head = await reader.readexactly(_LENGTH.size)
        (length,) = _LENGTH.unpack(head)
        if length > longest:
            raise WireError(f"a message of {length:,} bytes announced; {longest:,} are allowed")
        content = json.loads(await reader.readexactly(length))
    except asyncio.IncompleteReadError as cut:
        if cut.partial:
            raise WireError("the connection ended within a message") from None
        return None
    except (ConnectionError, BrokenPipeError):
        return None
    except (ValueError, RecursionError):
        raise WireError("a message that is not JSON") from None
    if not isinstance(content, dict):
        raise WireError("a message that is not an object")
    return content


def hello(about: About) -> dict[str, Any]:
    """Return what a worker says first."""
    return {"protocol": PROTOCOL, "version": about.version, "labels": about.labels, "threshold": about.threshold}


def introduced(content: dict[str, Any]) -> About:
    """Read a worker's first message; raises WireError when it is of another protocol."""
    if content.get("protocol") != PROTOCOL:
        raise WireError(f"a worker that speaks protocol {content.get('protocol')!r}; this process speaks {PROTOCOL}")
    try:
        return About(str(content["version"]), tuple(map(str, content["labels"])), float(content["threshold"]))
    except (KeyError, TypeError, ValueError):
        raise WireError("a worker's introduction lacks its version, labels or threshold") from None


def answer(number: int, judged: Sequence[Judged]) -> dict[str, Any]:
    """Return a worker's answer to a request."""
    return {"id": number, "judged": [{"text": each.text, "probabilities": each.probabilities, "batch": each.batch} for each in judged]}


def answered(content: dict[str, Any]) -> list[Judged]:
    """Read a worker's answer; raises WireError when it is none."""
    try:
        return [Judged(each["text"], tuple(each["probabilities"]), each["batch"]) for each in content["judged"]]
    except (KeyError, TypeError):
        raise WireError("an answer that lacks its texts or probabilities") from None


def unusable(content: dict[str, Any]) -> tuple[int, ...]:
    """Read the places of texts that cleaning emptied; none in an answer of another kind."""
    places = content.get("unusable", ())
    if not isinstance(places, list | tuple) or not all(isinstance(place, int) for place in places):
        raise WireError("an answer whose places are not numbers")
    return tuple(places)
