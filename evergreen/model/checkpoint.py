"""Checkpoints that survive a kill: written beside, hashed, flushed and renamed; the newest valid one is resumed from.

A checkpoint is a folder `step-<number>` with `state.safetensors` (named tensors) and `state.json` (plain values and the
hash of the tensors). Knows nothing of what the tensors mean.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from evergreen.model.backbone import file_sha256

KEPT = 2


def save(folder: Path, *, step: int, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Write a checkpoint and drop all but the newest two."""
    target, beside = folder / f"step-{step:08d}", folder / ".partial"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, beside / "state.safetensors")
    described = {**values, "sha256": file_sha256(beside / "state.safetensors")}
    (beside / "state.json").write_text(json.dumps(described), encoding="utf-8")
    for name in ("state.safetensors", "state.json"):
        descriptor = os.open(beside / name, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    shutil.rmtree(target, ignore_errors=True)
    os.rename(beside, target)
    for old in _steps(folder)[:-KEPT]:
        shutil.rmtree(old)


def newest(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return tensors and values of the newest checkpoint whose hash holds, or None."""
    for place in reversed(_steps(folder)):
        try:
            values = json.loads((place / "state.json").read_text(encoding="utf-8"))
            if file_sha256(place / "state.safetensors") == values["sha256"]:
                return load_file(place / "state.safetensors"), values
        except (OSError, ValueError, KeyError):
            continue  # cut short by a kill or a full disk: the one before it serves
    return None


def _steps(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"))
