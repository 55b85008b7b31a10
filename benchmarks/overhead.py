"""What a flow costs beside plain DVC: a whole training by `dvc repro --force` and by `evergreen train --force`, in turn.

    python -m benchmarks.overhead [--rounds 3] [--real] [--checkout FOLDER]

Without --checkout the pipeline runs in a throw-away clone, for one epoch unless --real: what a training takes varies by more than
what is looked for here, so the time inside the stages, which they record themselves, is told apart from the time around them.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from benchmarks._clone import clone, environment, folder_for, repro
from benchmarks._page import Figures, machine, publish
from evergreen.params_file import edit_params

COMMANDS = {"dvc repro": ["dvc", "repro", "--force"], "evergreen train": ["flows", "train", "--force"]}


@dataclass(frozen=True)
class Taken:
    """Seconds of one run: by the clock, by the clock inside the stages, and of the processors."""

    wall: float
    inside: float
    cpu: float

    @property
    def around(self) -> float:
        """Seconds outside of the stages that record their time."""
        return self.wall - self.inside


def main() -> None:
    """Measure both commands in turn and publish the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description="Seconds that a flow adds to a whole training.")
    parser.add_argument("--checkout", type=Path, metavar="FOLDER", help="measure there, where everything is made, instead of in a clone")
    parser.add_argument("--real", action="store_true", help="train for all epochs of params.yaml")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with nullcontext(given.checkout) if given.checkout else folder_for(None, "clone") as folder:
        if given.checkout is None:
            clone(folder)
            if not given.real:
                edit_params(folder / "params.yaml", {"finetune.epochs": 1})
            repro(folder)
        on = machine()
        first = _timed("evergreen train", folder)  # Prefect makes its database
        taken: dict[str, list[Taken]] = {name: [] for name in COMMANDS}
        for _ in range(given.rounds):
            for name, measured in taken.items():
                measured.append(_timed(name, folder))
    plain, flow = taken.values()
    rows = [_row(name, measured) for name, measured in taken.items()]
    rows.append(["evergreen train, the first ever", *_figures([first])])
    added = [statistics.median(run.around for run in flow) - statistics.median(run.around for run in plain),
             statistics.median(run.cpu for run in flow) - statistics.median(run.cpu for run in plain)]  # fmt: skip
    publish(
        "overhead",
        title="What a flow adds to a whole training",
        command="python -m benchmarks.overhead",
        on=on,
        tables=[Figures("", ["command", "seconds", "in the stages", "around them", "CPU seconds"], rows)],
        notes=[
            f"Medians of {given.rounds} rounds in turn, every stage forced. The flow adds {added[0]:.1f} s around the stages, "
            f"{added[1]:.1f} CPU seconds in all: Prefect with its server, and a task for each stage.",
            "document and package keep no record of their time, so theirs counts as around the stages in both.",
        ],
    )


def _row(name: str, measured: list[Taken]) -> list[str]:
    return [name, *_figures(measured)]


def _figures(measured: list[Taken]) -> list[str]:
    return [f"{statistics.median(getattr(run, kind) for run in measured):.1f}" for kind in ("wall", "inside", "around", "cpu")]


def _timed(name: str, folder: Path) -> Taken:
    """Force the whole pipeline by a command; return what it took."""
    before, start = os.times(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", *COMMANDS[name]], cwd=folder, env=environment(), check=False, capture_output=True, text=True
    )
    wall, after = time.perf_counter() - start, os.times()
    if done.returncode:
        sys.exit(f"`{name}` in {folder} ended with status {done.returncode}; it said:\n{done.stdout}{done.stderr}")
    inside = sum(json.loads(path.read_text(encoding="utf-8"))["seconds"] for path in (folder / "runs").glob("*.json"))
    print(f"{name}: {wall:.1f} s, {inside:.1f} s of it in the stages", flush=True)
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Taken(wall, inside, cpu)


if __name__ == "__main__":
    main()
