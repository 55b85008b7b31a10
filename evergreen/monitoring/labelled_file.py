"""Labels from a file that a person filled in: one row per answer, with the columns `id` (the answer's) and `label`.

The same file twice tells the same labels: a row's feedback id comes from its content. Knows nothing of databases.
"""

import csv
import re
from hashlib import sha256
from io import StringIO
from pathlib import Path

from evergreen.errors import MonitorError
from evergreen.monitoring.records import ID_PATTERN, Labelled


def read_labels(path: Path, *, now: float) -> list[Labelled]:
    """Return the labels of a file, those of empty cells left out; raise MonitorError that names the row where it cannot be used."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as fault:
        raise MonitorError(f"{path} cannot be read ({getattr(fault, 'strerror', None) or 'it is not UTF-8'})") from None
    reader = csv.DictReader(StringIO(text, newline=""), dialect=_dialect(text))
    if missing := {"id", "label"} - set(reader.fieldnames or ()):
        raise MonitorError(f"{path} has no column {' and no column '.join(sorted(missing))}; it has {', '.join(reader.fieldnames or ())}")
    found = []
    for number, row in enumerate(reader, start=2):
        label = (row["label"] or "").strip()
        if not label:
            continue
        if not re.fullmatch(ID_PATTERN, row["id"] or ""):
            raise MonitorError(f"{path}, row {number}: {row['id']!r} is no id of an answer; ids have 32 hexadecimal digits")
        name = sha256(f"{row['id']} {label}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
        found.append(Labelled(feedback_id=name, request_id=row["id"], label=label, time=now, key_id=""))
    if not found:
        raise MonitorError(f"{path} holds no label yet; fill in its column label")
    return found


def _dialect(text: str) -> type[csv.Dialect]:
    """Return commas or, as spreadsheets of some countries write, semicolons."""
    head = text.partition("\n")[0]
    return _Semicolons if head.count(";") > head.count(",") else csv.excel


class _Semicolons(csv.excel):
    delimiter = ";"
