"""Sources: a CSV, TSV, JSON lines or Parquet file, or a folder of them, read as text without guessing.

A label `1` stays "1", "NA" stays "NA", an absent value is "". Knows nothing of what a column means; see `roles`.
"""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from evergreen.data.text import beginning
from evergreen.errors import SourceError

SPLIT_OF_NAME = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "calibration": "calibration",
    "test": "test", "testing": "test",
}  # fmt: skip
OTHER_ENCODINGS = ("cp1252", "gb18030", "shift_jis", "cp1251", "latin-1")
LONGEST_FIELD = 2**31 - 1  # the most that csv takes everywhere; whether a text is too long is for validate to say
ROWS_TRIED, CHARACTERS_TRIED = 20, 65_536  # to tell the delimiter
Rows = tuple[list[str], list[list[str]]]


@dataclass(frozen=True)
class SourceFile:
    """One file of a source: its path and its table, every value a str."""

    path: Path
    table: pd.DataFrame


@dataclass(frozen=True)
class Source:
    """A source as read: its files, and the names of a folder's other files, which were left alone."""

    path: Path
    files: tuple[SourceFile, ...]
    ignored: tuple[str, ...]

    @property
    def splits(self) -> tuple[str, ...] | None:
        """The split that each file's name says (train.csv, dev.csv ...); None unless every file of a folder says one."""
        named = [split for file in self.files if (split := _split_of(file.path)) is not None]
        return tuple(named) if self.path.is_dir() and len(named) == len(self.files) else None

    @property
    def without_split(self) -> tuple[str, ...]:
        """The names of a folder's files that say no split where others do; empty where all do, or none."""
        silent = tuple(file.path.name for file in self.files if _split_of(file.path) is None)
        return silent if self.path.is_dir() and len(silent) < len(self.files) else ()

    @property
    def rows(self) -> int:
        """Number of rows of all files."""
        return sum(len(file.table) for file in self.files)


def _split_of(path: Path) -> str | None:
    return SPLIT_OF_NAME.get(path.stem.casefold())


def read_source(path: Path) -> Source:
    """Read a file, or every usable file of a folder in the order of their names.

    Raises SourceError, naming file and line, for what is missing, empty, badly encoded, truncated or malformed.
    """
    if not path.exists():
        raise SourceError(f"{path} does not exist; give the path of a file ({_choices()}) or of a folder of them")
    if not path.is_dir():
        if path.suffix.lower() not in READERS:
            raise SourceError(f"{path} is not a kind of file that can be read; the choices are {_choices()}")
        return Source(path, (_read_file(path),), ())
    items = sorted(path.iterdir(), key=lambda item: item.name)
    usable = [item for item in items if item.is_file() and item.suffix.lower() in READERS and not item.name.startswith(".")]
    if not usable:
        found = ", ".join(item.name for item in items[:8]) or "nothing"
        raise SourceError(f"the folder {path} has no file that can be read (it holds {found}); the choices are {_choices()}")
    ignored = tuple(item.name for item in items if item not in usable)
    return Source(path, tuple(_read_file(item) for item in usable), ignored)


def _choices() -> str:
    return ", ".join(READERS)


def _read_file(path: Path) -> SourceFile:
    names, rows = READERS[path.suffix.lower()](path)
    if not rows:
        raise SourceError(f"{path} holds no rows; export it again, or take it out of the folder")
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise SourceError(f"{path} has two columns named {double[0]!r}; rename one of them")
    columns = {name: pd.Series(list(values), dtype="str") for name, values in zip(names, zip(*rows, strict=True), strict=True)}
    return SourceFile(path, pd.DataFrame(columns))


def _decoded(path: Path) -> str:
    """Return a file's text; raise SourceError with the place of the first bad byte and the encodings that would read it."""
    try:
        content = path.read_bytes()
    except OSError as fault:
        raise SourceError(f"{path} cannot be opened ({fault.strerror}); look at its permissions") from None
    for mark, name in ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16")):
        if content.startswith(mark):
            raise SourceError(f"{path} is encoded in {name}, not in UTF-8; convert it: {_convert(path, 'utf-16')}")
    if b"\0" in content:
        line = content.count(b"\n", 0, content.index(b"\0")) + 1
        raise SourceError(
            f"{path}, line {line} holds a NUL byte: it is not text, or it is UTF-16; convert it: {_convert(path, 'utf-16le')}"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        offset = fault.start + (3 if content.startswith(b"\xef\xbb\xbf") else 0)
        line = content.count(b"\n", 0, offset) + 1
        works = _working_encodings(content)
        begin = max(content.rfind(b"\n", 0, offset) + 1, offset - 30)
        shown = content[begin : offset + 20].decode(works[0], "replace").strip()
        raise SourceError(
            f"{path} is not UTF-8: line {line}, byte {offset} is 0x{content[offset]:02x}. "
            f"It reads as {' or '.join(works[:3])} (as {works[0]} that place says {beginning(shown)}). "
            f"Look whether that is right, and convert it: {_convert(path, works[0])}"
        ) from None


def _working_encodings(content: bytes) -> list[str]:
    works = []
    for name in OTHER_ENCODINGS:
        try:
            content.decode(name)
        except UnicodeDecodeError:
            continue
        works.append(name)
    return works


def _shown(line: str) -> str:
    return beginning(line, characters=60)


def _convert(path: Path, encoding: str) -> str:
    return f"iconv -f {encoding} -t utf-8 {path} > {path.with_name(path.stem + '.utf8' + path.suffix)}"


def _read_csv(path: Path) -> Rows:
    """Read text separated by commas, semicolons or tabs."""
    text = _decoded(path)
    return _separated(path, text, max(",;\t", key=lambda mark: _fitness(text, mark)))


def _fitness(text: str, delimiter: str) -> tuple[bool, float, int]:
    """Say how well a delimiter fits: whether it parts the header, the share of the first rows as wide as it, its width."""
    reader = csv.reader(io.StringIO(text[:CHARACTERS_TRIED], newline=""), delimiter=delimiter)
    widths = [len(row) for row in islice(reader, ROWS_TRIED) if row]
    if len(text) > CHARACTERS_TRIED and len(widths) > 1 and next(reader, None) is None:
        widths.pop()  # the last row was cut
    if not widths:
        return False, 0.0, 0
    return widths[0] > 1, widths.count(widths[0]) / len(widths), widths[0]


def _read_tsv(path: Path) -> Rows:
    return _separated(path, _decoded(path), "\t")


def _separated(path: Path, text: str, delimiter: str) -> Rows:
    csv.field_size_limit(LONGEST_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    names: list[str] = []
    begin = 1
    try:
        for row in reader:
            if not names:
                names = row
            elif row and len(row) != len(names):
                raise SourceError(
                    f"{path}, line {begin}: {len(row)} fields where the header has {len(names)} ({', '.join(map(repr, names))}); "
                    f"the line begins {_shown(delimiter.join(row))}. A text that holds {delimiter!r} must stand in double quotes"
                )
            elif row:
                rows.append(row)
            begin = reader.line_num + 1
    except csv.Error as fault:
        raise SourceError(
            f"{path}, from line {begin} on: {fault}. A double quote is probably never closed, or stands inside a quoted text "
            'without being doubled (""); correct that line'
        ) from None
    return names, rows


def _read_json_lines(path: Path) -> Rows:
    records: list[dict[str, Any]] = []
    for number, line in enumerate(_decoded(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line, parse_int=str, parse_float=str, parse_constant=str)
        except ValueError as fault:
            raise SourceError(
                f"{path}, line {number} is not valid JSON ({fault}); it begins {_shown(line)}. Correct or remove that line"
            ) from None
        if not isinstance(record, dict):
            raise SourceError(f"{path}, line {number} is not an object {{...}}; it begins {_shown(line)}. Each line must be one row")
        records.append(record)
    names = list(dict.fromkeys(name for record in records for name in record))
    return names, [[_plain(record.get(name)) for name in names] for record in records]


def _plain(value: Any) -> str:
    """Return a value as text: "" for null, JSON for what has parts, half a surrogate pair as U+FFFD (damage, for validate to find)."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _read_parquet(path: Path) -> Rows:
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as fault:
        reason = str(fault).splitlines()[0]
        raise SourceError(f"{path} is not a complete Parquet file ({reason}); copy or export it again") from None
    return table.column_names, list(zip(*(_as_text(column) for column in table.columns), strict=True))  # type: ignore[arg-type]


def _as_text(column: Any) -> list[str]:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    try:
        return [value or "" for value in column.cast(pa.string()).to_pylist()]
    except pa.ArrowException:
        return [_plain(None if value is None else str(value)) for value in column.to_pylist()]


READERS: dict[str, Callable[[Path], Rows]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".parquet": _read_parquet,
}
