"""Processes that do not outlive those who started them."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1
# Found at import: between fork and exec, where other threads may hold the loader's lock, is no time to look for it.
_PRCTL = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
SECONDS_TO_END = 10


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies: an orphan would write beside the one that a re-run starts."""
    if _PRCTL is not None:
        _PRCTL(PR_SET_PDEATHSIG, signal.SIGKILL)


def start(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    *,
    orders: int = subprocess.DEVNULL,
    output: int | IO[bytes] = subprocess.PIPE,
    errors: int | IO[bytes] = subprocess.STDOUT,
) -> "subprocess.Popen[str]":
    """Start a command in a folder, in a process group of its own; it dies with this process, whatever this one dies of.

    What it prints goes to `output` and `errors` (as for `subprocess.Popen`), read as UTF-8 text; its standard input is `orders`.
    """
    return subprocess.Popen(
        list(command),
        env=dict(environment),
        cwd=folder,
        stdin=orders,
        stdout=output,
        stderr=errors,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
        preexec_fn=die_with_parent,
    )


def stream(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Generator[str, None, int]:
    """Run a command in a folder, in a process group of its own, and give its output line by line; return its exit status.

    The status is the generator's return value (`status = yield from stream(...)`). Leaving the generator early (an
    error, a cancelled run) ends the whole group: politely first, by force after SECONDS_TO_END.
    """
    process = start(command, environment, folder)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            yield line.rstrip("\n")
        return process.wait()
    finally:
        end(process)


def end(process: "subprocess.Popen[str]") -> None:
    """End the whole group of a process: politely first, by force after SECONDS_TO_END."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            with suppress(BrokenPipeError):
                pipe.close()
