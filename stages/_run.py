"""What every stage does around its own work: read its knobs and paths, run alone, write all or nothing, say what went wrong.

A runner is a function `stage(params, inputs, outputs)` in a module `stages/<name>.py`; dvc.yaml calls it as

    python -m stages.<name> --in NAME=PATH ... --out NAME=PATH ... [--record PATH]

`inputs.NAME` is the path given. `outputs.NAME` is a path beside the target; it is renamed onto the target when the
runner has ended well, so that a killed or failed run leaves the old output or none. A runner may return a function: it is
called once the outputs have their names, to clear away what a killed run would need to go on from.
"""

import argparse
import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import psutil

from evergreen.config import Params, load_params
from evergreen.disk import full_words, is_full
from evergreen.errors import EvergreenError
from evergreen.processes import die_with_parent
from evergreen.reports import write_report
from evergreen.run_record import RunRecord

Afterwards = Callable[[], None]
Runner = Callable[[Params, SimpleNamespace, SimpleNamespace], Afterwards | None]
PARAMS = Path("params.yaml")


def say(message: str) -> None:
    """Print a line of the stage's account of itself, at once even through a pipe."""
    print(f"  {message}", flush=True)


def home() -> Path:
    """Return the folder of all state outside git: EVERGREEN_HOME, or .evergreen."""
    return Path(os.environ.get("EVERGREEN_HOME", ".evergreen"))


def main(runner: Runner, arguments: list[str] | None = None) -> None:
    """Run a stage as dvc.yaml calls it; exit with status 1 and the message alone on an EvergreenError."""
    start = psutil.Process().create_time()
    given = _parse(runner.__name__, arguments)
    outputs = _pairs(given.out)
    record = {"record": given.record} if given.record else {}
    try:
        die_with_parent()
        with _alone(runner.__name__):
            with _all_or_nothing({**outputs, **record}) as staged:
                with RunRecord(runner.__name__, start) as measured:
                    afterwards = runner(
                        load_params(PARAMS),
                        SimpleNamespace(**_pairs(given.inputs)),
                        SimpleNamespace(**{name: staged[name] for name in outputs}),
                    )
                if record:
                    write_report(measured.content, staged["record"])
            if afterwards is not None:
                afterwards()
    except Exception as error:
        if not isinstance(error, EvergreenError) and not is_full(error):
            raise
        print(f"\n{runner.__name__} stopped: {full_words(error) if is_full(error) else error}", file=sys.stderr, flush=True)
        sys.exit(1)
    except KeyboardInterrupt:
        print(f"\n{runner.__name__} was interrupted; its old output, if any, is untouched", file=sys.stderr, flush=True)
        sys.exit(130)


def _parse(stage: str, arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m stages.{stage}")
    parser.add_argument("--in", dest="inputs", nargs="+", default=[], metavar="NAME=PATH")
    parser.add_argument("--out", nargs="+", default=[], metavar="NAME=PATH")
    parser.add_argument("--record", type=Path, metavar="PATH")
    return parser.parse_args(arguments)


def _pairs(items: list[str]) -> dict[str, Path]:
    pairs = (item.partition("=") for item in items)
    return {name: Path(path) for name, _, path in pairs}


@contextmanager
def _alone(stage: str) -> Iterator[None]:
    """Hold the stage's lock; wait, and say so, while another process runs the same stage in this folder."""
    folder = home() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{stage}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another run of {stage} is at work here; waiting for it to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _all_or_nothing(targets: dict[str, Path]) -> Iterator[dict[str, Path]]:
    """Give a path beside each target and rename it onto the target when the block ends well."""
    staged = {name: path.with_name(f".{path.name}.partial{path.suffix}") for name, path in targets.items()}
    for path in staged.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(path)
    try:
        yield staged
        for path in staged.values():
            _flush(path)
        for name, path in targets.items():
            _remove(path)
            os.replace(staged[name], path)
    finally:
        for path in staged.values():
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Force a file, or every file of a folder, to the disk before it takes its name."""
    files = [item for item in path.rglob("*") if item.is_file()] if path.is_dir() else [path]
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
