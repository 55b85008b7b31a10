"""What a training's bytes depend on beside its data: threads, seeds, deterministic algorithms, torch build, processor.

`fix` sets them for the process, `describe` records them.
"""

import os
import platform
from typing import Any, Literal

import torch
import transformers

from evergreen.errors import TrainingError
from evergreen.run_record import processor


def fix(*, threads: int, seed: int) -> None:
    """Make torch repeat itself: fixed threads and seed, deterministic algorithms only. Call it before CUDA starts."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    # The fused attention kernels of CUDA add up in no fixed order on the way back; the plain one does.
    torch.backends.cuda.enable_flash_sdp(False)
    torch.backends.cuda.enable_mem_efficient_sdp(False)
    torch.backends.cuda.enable_cudnn_sdp(False)
    torch.manual_seed(seed)


def device(wanted: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """Return the device to train on; raise TrainingError when CUDA is asked for and absent."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise TrainingError("finetune.device is cuda, but torch sees no CUDA device; set it to auto or cpu")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def precision(wanted: Literal["auto", "fp32", "bf16"], on: torch.device) -> Literal["fp32", "bf16"]:
    """Return the arithmetic of the linear layers; auto is bf16 where the hardware multiplies it faster than fp32."""
    if wanted != "auto":
        return wanted
    if on.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "fp32"


def describe(on: torch.device) -> dict[str, Any]:
    """Return the recorded tuple's part that the machine decides: torch build, libraries, instruction set or GPU."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "isa": torch.backends.cpu.get_cpu_capability(),
        "processor": processor(),
        "gpu": torch.cuda.get_device_name(on) if on.type == "cuda" else None,
        "cuda": torch.version.cuda if on.type == "cuda" else None,
    }
