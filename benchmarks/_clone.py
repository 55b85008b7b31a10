"""A throw-away clone of this checkout, and the pipeline run in it."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evergreen.processes import stream

ROOT = Path(__file__).parents[1]


@contextmanager
def folder_for(keep: Path | None, name: str) -> Iterator[Path]:
    """Give a folder that does not exist yet; it goes away at the end unless it is to be kept, under `keep`."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep / name
        return
    above = Path(tempfile.mkdtemp(prefix="evergreen-"))
    try:
        yield above / name
    finally:
        shutil.rmtree(above)


def clone(folder: Path) -> None:
    """Clone this checkout's last commit into a new folder."""
    if subprocess.run(["git", "diff", "--quiet", "HEAD"], cwd=ROOT, check=False).returncode:
        print("This checkout has changes that are not committed; they are not measured.", file=sys.stderr, flush=True)
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)


def repro(folder: Path) -> dict[str, float]:
    """Run `dvc repro` in a clone, showing its output; return the wall seconds of each stage that ran, DVC's work included."""
    began: list[tuple[str, float]] = []
    output = stream([sys.executable, "-m", "dvc", "repro"], environment(), folder)
    while True:
        try:
            line = next(output)
        except StopIteration as end:
            if end.value:
                sys.exit(f"the pipeline stopped with status {end.value}; what it said stands above")
            break
        print(line, flush=True)
        if line.startswith("Running stage '"):
            began.append((line.split("'")[1], time.monotonic()))
    ends = [*(start for _, start in began[1:]), time.monotonic()]
    return {stage: end - start for (stage, start), end in zip(began, ends, strict=True)}


def environment() -> dict[str, str]:
    """Return the environment of a run: this interpreter's own `python` first, nothing taken from this checkout."""
    first = str(Path(sys.executable).parent)
    kept = {name: value for name, value in os.environ.items() if name not in {"EVERGREEN_HOME", "PYTHONPATH", "DVC_ROOT"}}
    return {**kept, "PATH": f"{first}{os.pathsep}{os.environ.get('PATH', '')}", "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1"}
