"""How long it takes to find out that nothing has changed: a second `dvc repro`, a second `evergreen train`.

    python -m benchmarks.noop [--checkout FOLDER]

Without --checkout the pipeline is run in a throw-away clone first, for one epoch: what stands in the outputs does not
matter here. A checkout that is given must be up to date.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

from benchmarks._clone import clone, environment, folder_for, repro
from benchmarks._page import Figures, machine, publish
from evergreen.params_file import edit_params

COMMANDS = {"dvc repro": ["dvc", "repro"], "evergreen train": ["flows", "train"]}
SAYS = {"dvc repro": "Data and pipelines are up to date", "evergreen train": "up to date"}


def main() -> None:
    """Measure both commands in turn and publish the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.noop", description="Seconds to find out that nothing has changed.")
    parser.add_argument("--checkout", type=Path, metavar="FOLDER", help="measure there instead of in a clone")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with nullcontext(given.checkout) if given.checkout else folder_for(None, "clone") as folder:
        if given.checkout is None:
            clone(folder)
            edit_params(folder / "params.yaml", {"finetune.epochs": 1})
            repro(folder)
        on = machine()
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
        for _ in range(given.rounds):
            for name, measured in taken.items():
                measured.append(_timed(name, folder))
    rows = []
    for name, measured in taken.items():
        wall, cpu = zip(*measured, strict=True)
        rows.append([name, f"{statistics.median(wall):.2f}", f"{min(wall):.2f} … {max(wall):.2f}", f"{statistics.median(cpu):.2f}"])
    publish(
        "noop",
        title="When nothing has changed",
        command="python -m benchmarks.noop",
        on=on,
        tables=[Figures("", ["command", "seconds", "lowest … highest", "CPU seconds"], rows)],
        notes=[f"Medians of {given.rounds} rounds, after the run that made everything."],
    )


def _timed(name: str, folder: Path) -> tuple[float, float]:
    """Run a command that must find nothing to do; return its wall and CPU seconds."""
    before, start = os.times(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", *COMMANDS[name]], cwd=folder, env=environment(), check=False, capture_output=True, text=True
    )
    wall, after = time.perf_counter() - start, os.times()
    if done.returncode or SAYS[name] not in done.stdout:
        sys.exit(f"`{name}` in {folder} did not find everything up to date; it said:\n{done.stdout}{done.stderr}")
    return wall, after.children_user + after.children_system - before.children_user - before.children_system


if __name__ == "__main__":
    main()
