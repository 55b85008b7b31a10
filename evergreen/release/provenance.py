"""Where a model comes from, exactly: data, code, parameters, dependencies, machine, seeds, time, and an estimate of energy.

Reads what other stages recorded; imports neither torch nor the model. What is not known is null, never guessed.
"""

import platform
import subprocess
from collections.abc import Mapping, Sequence
from hashlib import file_digest
from pathlib import Path
from typing import Any

from evergreen.release.dependencies import fingerprint, pinned
from evergreen.reports import read_report

Report = Mapping[str, Any]
SEEDED = ("split", "finetune", "evaluate", "audit", "snapshot", "challenge")


def provenance(
    *, raw: Path, code: Report, params: Report, constraints: str, training: Report, artifact: Report, runs: Sequence[Report]
) -> dict[str, Any]:
    """Return the record of a model's origin.

    `raw` is the raw table, `code` what `git_state` returns, `params` the whole of params.yaml, `artifact` the description that
    lies in the artifact, `runs` one record of a stage each.
    """
    tuple_ = training.get("tuple") or {}
    return {
        "data_sha256": sha256_of(raw),
        "code": dict(code),
        "model": {
            "weights_sha256": training.get("weights_sha256"),
            "artifact_sha256": artifact.get("sha256"),
            "artifact_version": artifact.get("version"),
            "backbone": training.get("backbone"),
        },
        "dependencies": {"sha256": fingerprint(constraints), "packages": pinned(constraints)},
        "python": platform.python_version(),
        "torch": tuple_.get("torch"),
        "hardware": _hardware(training, runs),
        "tuple": dict(tuple_),
        "seeds": {stage: params[stage]["seed"] for stage in SEEDED if "seed" in params.get(stage, {})},
        "cost": cost(runs, watts=params["document"]["watts"]),
        "params": dict(params),
    }


def cost(runs: Sequence[Report], *, watts: float) -> dict[str, Any]:
    """Return the seconds of each stage and of all, CPU seconds, peak memory, and an estimate of energy in Wh.

    The estimate is wall seconds x `watts` / 3600: what a machine with that draw would use if it did nothing else meanwhile.
    It is no measurement.
    """
    stages = [{name: run.get(name) for name in ("stage", "started", "seconds", "cpu_seconds", "peak_megabytes")} for run in runs]
    seconds = sum(run["seconds"] for run in runs)
    return {
        "stages": stages,
        "seconds": round(seconds, 3),
        "cpu_seconds": round(sum(run["cpu_seconds"] for run in runs), 3),
        "watts_assumed": watts,
        "energy_watt_hours": round(seconds * watts / 3600, 3),
        "energy_is": f"an estimate, not a measurement: the {seconds:,.0f} s of all stages x an assumed {watts:g} W",
    }


def read_runs(folder: Path) -> list[dict[str, Any]]:
    """Return the records of the stages' runs in a folder, in the order in which they started."""
    records = [read_report(path) for path in sorted(folder.glob("*.json"))]
    return sorted(records, key=lambda record: (record["started"], record["stage"]))


def git_state(folder: Path, *, ignoring: Sequence[str] = ()) -> dict[str, Any]:
    """Return `commit` and `dirty` (tracked files differ from it, those in `ignoring` aside); both null where there is no git."""
    commit = _git(folder, "rev-parse", "HEAD")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".", *(f":(exclude){path}" for path in ignoring))
    return {"commit": commit or None, "dirty": None if not commit or changed is None else bool(changed)}


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _hardware(training: Report, runs: Sequence[Report]) -> dict[str, Any]:
    run = next((run for run in runs if run.get("stage") == "finetune"), {})
    named = {name: training.get(name) for name in ("device", "precision", "threads")}
    built = {name: (training.get("tuple") or {}).get(name) for name in ("isa", "gpu", "cuda")}
    return {**named, **built, "machine": run.get("machine"), "processor": run.get("processor")}


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git says, or None where it is not installed or the folder is no repository."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
