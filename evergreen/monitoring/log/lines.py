"""A row of the request log as one line of a file and back: checksum, blank, JSON.

Knows nothing of files and databases. JSON is kept to ASCII, so that no character of a text can break a line or be refused.
"""

import json
from collections.abc import Callable
from dataclasses import fields
from zlib import crc32

from evergreen.monitoring.log.records import Answered, Labelled

Row = Answered | Labelled
KINDS: dict[str, Callable[..., Row]] = {"answered": Answered, "labelled": Labelled}
FIELDS = {Answered: tuple(field.name for field in fields(Answered)), Labelled: tuple(field.name for field in fields(Labelled))}
DIGITS = 8  # of the checksum, hexadecimal


class DamagedLine(ValueError):
    """A line that is not whole: its checksum says so."""


class UnknownLine(ValueError):
    """A whole line that holds no row of ours; another version of the code may know it."""


def to_line(row: Row) -> bytes:
    """Return a row as a line, its end included."""
    kind = "answered" if isinstance(row, Answered) else "labelled"
    content = {name: getattr(row, name) for name in FIELDS[type(row)]}
    body = json.dumps({kind: content}, separators=(",", ":")).encode("ascii")
    return b"%08x %s\n" % (crc32(body), body)


def from_line(line: bytes) -> Row:
    """Return the row of a line; raise DamagedLine or UnknownLine, neither of which repeats what the line holds."""
    checksum, _, body = line.strip(b"\0\n").partition(b" ")  # a power cut may leave zeros before the next line
    if len(checksum) != DIGITS or checksum != b"%08x" % crc32(body):
        raise DamagedLine("a line of the journal is damaged")
    try:
        [(kind, content)] = json.loads(body).items()
        return KINDS[kind](**content)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UnknownLine("a line of the journal holds no row that this version knows") from None
