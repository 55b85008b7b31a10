"""Checkpoints that survive a kill: written beside, hashed, flushed and renamed; the newest valid one is resumed from.

A checkpoint is a folder `step-<number>` with `state.safetensors` (named tensors, and plain values as JSON in its
metadata) and `state.sha256`, the hash of that file. Knows nothing of what the tensors mean.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from evergreen.model.backbone import file_sha256

KEPT = 2
STATE, HASH, VALUES = "state.safetensors", "state.sha256", "values"


def save(folder: Path, *, step: int, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Write a checkpoint and drop all but the newest two."""
    target, beside = folder / f"step-{step:08d}", folder / ".partial"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, beside / STATE, metadata={VALUES: json.dumps(values)})
    (beside / HASH).write_text(file_sha256(beside / STATE), encoding="ascii")
    for name in (STATE, HASH):
        descriptor = os.open(beside / name, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    shutil.rmtree(target, ignore_errors=True)
    os.rename(beside, target)
    for old in _steps(folder)[:-KEPT]:
        shutil.rmtree(old)


def newest(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return tensors and values of the newest checkpoint whose hash holds, or None."""
    return next((_load(place / STATE) for place in reversed(_steps(folder)) if _whole(place)), None)


def _whole(place: Path) -> bool:
    try:
        return file_sha256(place / STATE).encode() == (place / HASH).read_bytes()
    except OSError:
        return False  # cut short by a kill or a full disk: the one before it serves


def _load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()[VALUES])  # noqa: SIM118


def _steps(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"))
