"""Labels from a file that a person filled in: one row per answer, with the columns `id` (the answer's) and `label`.

One file says one thing of an answer: two rows that contradict each other are refused. Knows nothing of databases, and so nothing of what
had been told before.
"""

import csv
import re
from io import StringIO
from pathlib import Path

from evergreen.errors import MonitorError
from evergreen.monitoring.log.records import ID_PATTERN, Labelled, new_id


def read_labels(path: Path, *, now: float) -> list[Labelled]:
    """Return the labels of a file, those of empty cells left out; raise MonitorError that names the row where it cannot be used."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as fault:
        raise MonitorError(f"{path} cannot be read ({getattr(fault, 'strerror', None) or 'it is not UTF-8'})") from None
    reader = csv.DictReader(StringIO(text, newline=""), dialect=_dialect(text), strict=True)
    try:
        found = _rows(path, reader, now)
    except csv.Error as fault:
        raise MonitorError(f"{path}, after line {reader.line_num}: {fault}; is a quotation mark missing?") from None
    if not found:
        raise MonitorError(f"{path} holds no label yet; fill in its column label")
    return found


def _rows(path: Path, reader: "csv.DictReader[str]", now: float) -> list[Labelled]:
    if missing := {"id", "label"} - set(reader.fieldnames or ()):
        raise MonitorError(f"{path} has no column {' and no column '.join(sorted(missing))}; it has {', '.join(reader.fieldnames or ())}")
    found: dict[str, tuple[int, Labelled]] = {}
    for number, row in enumerate(reader, start=2):
        label = (row["label"] or "").strip()
        if not label:
            continue
        if not re.fullmatch(ID_PATTERN, row["id"] or ""):
            raise MonitorError(f"{path}, row {number}: {row['id']!r} is no id of an answer; ids have 32 hexadecimal digits")
        told = Labelled(feedback_id=new_id(now), request_id=row["id"], label=label, time=now, key_id="")
        first, before = found.setdefault(row["id"], (number, told))
        if before.label != label:
            raise MonitorError(
                f"{path}, rows {first} and {number}: {before.label!r} and {label!r} are told of the same answer, {row['id']}"
            )
    return [told for _, told in found.values()]


def _dialect(text: str) -> type[csv.Dialect]:
    """Return commas or, as spreadsheets of some countries write, semicolons."""
    head = text.partition("\n")[0]
    return _Semicolons if head.count(";") > head.count(",") else csv.excel


class _Semicolons(csv.excel):
    delimiter = ";"
