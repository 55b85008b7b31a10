"""What was seen of a window is kept without its texts, and what cannot be read is seen again."""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from evergreen.drift.rows import Seen
from evergreen.monitoring.watch.seen_files import keep, kept


def seen(rows: int) -> Seen:
    random = np.random.default_rng(rows)
    return Seen(
        descriptors=pd.DataFrame({"characters": random.random(rows), "words": random.random(rows)}),
        probabilities=random.dirichlet([1, 1], rows),
        embeddings=random.standard_normal((rows, 4)).astype(np.float32),
        sketches=random.standard_normal((rows, 8)).astype(np.float32),
        categories={"group_age_band": np.array(["60+"] * rows, dtype=object)},
        repeated=np.arange(rows) % 2 == 0,
    )


def test_what_was_kept_comes_back_as_it_was(tmp_path: Path) -> None:
    made = seen(5)
    keep(made, tmp_path / "seen" / "a.parquet", most=3)
    found = kept(tmp_path / "seen" / "a.parquet", ["group_age_band"])
    assert found is not None
    pd.testing.assert_frame_equal(found.descriptors, made.descriptors)
    for name in ("probabilities", "embeddings", "sketches", "repeated"):
        assert np.array_equal(getattr(found, name), getattr(made, name))
    assert found.categories["group_age_band"].tolist() == ["60+"] * 5
    assert (tmp_path / "seen" / "a.parquet").stat().st_mode & 0o077 == 0


def test_only_the_newest_copies_stay(tmp_path: Path) -> None:
    for number, name in enumerate("abcd"):
        keep(seen(3), tmp_path / f"{name}.parquet", most=4)
        (tmp_path / f"{name}.parquet").touch()

        os.utime(tmp_path / f"{name}.parquet", (number, number))
    keep(seen(3), tmp_path / "e.parquet", most=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.parquet", "e.parquet"]


def test_a_copy_that_is_missing_or_damaged_is_none(tmp_path: Path) -> None:
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1 no more")
    assert kept(tmp_path / "damaged.parquet", []) is None
    assert kept(tmp_path / "missing.parquet", []) is None
