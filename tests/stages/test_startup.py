"""Stages start quickly: what a stage does not use, it does not import."""

import json
import os
import subprocess
import sys

from tests.stages.test_wiring import ROOT, STAGES

TRAIN = ["finetune", "compress"]
ACCOUNT = """
import importlib, json, sys
brought = {{}}
for stage in {stages!r}:
    before = set(sys.modules)
    importlib.import_module(f"stages.{{stage}}")
    brought[stage] = sorted({heavy!r} & (set(sys.modules) - before))
print(json.dumps(brought))
"""


def brought(stages: list[str], heavy: set[str]) -> dict[str, list[str]]:
    """Import stages one after the other in a fresh process; return which of the libraries each one brought in."""
    program = ACCOUNT.format(stages=stages, heavy=heavy)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def test_only_finetune_and_compress_import_torch_and_only_snapshot_evidently() -> None:
    others = [stage for stage in STAGES if stage not in [*TRAIN, "snapshot"]]
    found = brought([*others, "snapshot"], {"torch", "transformers", "evidently"})
    assert found == {**{stage: [] for stage in others}, "snapshot": ["evidently"]}


def test_numpy_adds_in_one_thread_whatever_the_shell_says() -> None:
    program = "import stages, numpy, scipy.linalg, threadpoolctl; print([lib['num_threads'] for lib in threadpoolctl.threadpool_info()])"
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "4"}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    assert set(json.loads(done.stdout)) == {1}, done.stdout
