"""What there was to see of a window's texts, kept for the looks that follow: they take the newest windows together with their own.

Numbers and names alone, no text; a copy that is missing or cannot be read is made again from the request log. Knows nothing of either.
"""

import os
from contextlib import suppress
from pathlib import Path

import numpy as np

from evergreen.data.records import read_table
from evergreen.drift.reference import seen_in
from evergreen.drift.rows import Seen


def keep(seen: Seen, path: Path, *, most: int) -> None:
    """Write a window's rows for their owner alone, all of it or nothing, and remove the oldest copies beside it beyond `most`."""
    table = seen.descriptors.reset_index(drop=True).assign(
        probabilities=list(np.asarray(seen.probabilities, np.float64)),
        embedding=list(np.asarray(seen.embeddings, np.float32)),
        sketch=list(np.asarray(seen.sketches, np.float32)),
        repeated=seen.again,
        **seen.categories,
    )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.partial")
    os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    table.to_parquet(beside, index=False, compression="zstd")
    beside.replace(path)
    copies = sorted(path.parent.glob("*.parquet"), key=lambda copy: copy.stat().st_mtime)
    for old in copies[:-most] if most else copies:
        old.unlink(missing_ok=True)


def kept(path: Path, categories: list[str]) -> Seen | None:
    """Return a window's rows, or None where there is no copy that can be read."""
    with suppress(OSError, ValueError, KeyError):  # pyarrow's errors are among them
        return seen_in(read_table(path), categories)
    return None
