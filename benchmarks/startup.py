"""How long each stage takes before its first line of work: a fresh process that only imports it.

    python -m benchmarks.startup [--rounds 5]

CPU seconds are the ones to compare: they hardly change while the machine does other work.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import yaml

from benchmarks._page import Figures, machine, publish

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "transformers", "pandas", "scipy", "sklearn", "evidently", "fairlearn", "pandera", "onnxruntime", "matplotlib")
LOADED = "import json, sys; print(json.dumps([name for name in {names!r} if name in sys.modules]))"


def main() -> None:
    """Measure every stage of dvc.yaml and publish the table."""
    parser = argparse.ArgumentParser(description="Start-up of every stage.")
    parser.add_argument("--rounds", type=int, default=5, help="fresh processes per stage; the median counts")
    rounds = parser.parse_args().rounds
    on = machine()
    stages = list(yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"])
    fresh("import sys")  # the interpreter's own files are read from the disk once
    heavy = {stage: loaded(stage) for stage in stages}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ["", *stages]}
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        for stage, measured in taken.items():
            measured.append(fresh(f"import stages.{stage}" if stage else "pass"))
    medians = {stage: tuple(map(statistics.median, zip(*measured, strict=True))) for stage, measured in taken.items()}
    bare = medians.pop("")
    rows = [[stage, f"{wall:.2f}", f"{cpu:.2f}", ", ".join(heavy[stage]) or "none"] for stage, (wall, cpu) in medians.items()]
    total = [sum(column) for column in zip(*medians.values(), strict=True)]
    rows.append([f"all {len(stages)} stages", f"{total[0]:.2f}", f"{total[1]:.2f}", ""])
    rows.append(["an empty program", f"{bare[0]:.2f}", f"{bare[1]:.2f}", ""])
    with_torch = [stage for stage in stages if "torch" in heavy[stage]]
    publish(
        "startup",
        title="Start-up of every stage",
        command="python -m benchmarks.startup",
        on=on,
        tables=[Figures("", ["stage", "seconds", "CPU seconds", "heavy libraries that it imports"], rows, words=(0, 3))],
        notes=[f"Medians of {rounds} fresh processes. Torch is imported by {' and '.join(with_torch)} alone."],
    )


def fresh(program: str) -> tuple[float, float]:
    """Run a program in a fresh interpreter; return its wall and CPU seconds."""
    before, start = os.times(), time.perf_counter()
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
    wall, after = time.perf_counter() - start, os.times()
    return wall, after.children_user + after.children_system - before.children_user - before.children_system


def loaded(stage: str) -> list[str]:
    """Return the heavy libraries that a stage has loaded once it is imported."""
    program = f"import stages.{stage}; {LOADED.format(names=HEAVY)}"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    found: list[str] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    main()
