"""Where foreign data sets lie for the benchmarks that read them: `--data`, else the folder that EVERGREEN_TEST_DATA names."""

import argparse
import os
from pathlib import Path

VARIABLE = "EVERGREEN_TEST_DATA"


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add `--data`."""
    named = os.environ.get(VARIABLE)
    parser.add_argument(
        "--data", type=Path, default=Path(named) if named else None, help=f"folder of the data sets (default: what {VARIABLE} names)"
    )


def data_set(data: Path | None, *parts: str) -> Path:
    """Return where a data set lies; ends the script with one message where nobody has said, or where it is not there."""
    if data is None:
        raise SystemExit(f"this benchmark reads foreign data: say with --data or {VARIABLE} in which folder {'/'.join(parts)} lies")
    found = data.joinpath(*parts).resolve()
    if not found.exists():
        raise SystemExit(f"{found} does not exist; say with --data or {VARIABLE} where the data sets lie")
    return found
