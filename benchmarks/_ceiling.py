"""What the model itself can do: ONNX Runtime in one process, nothing between it and its texts but the tokenizer.

    python -m benchmarks._ceiling < plan.json > result.json

`single`: one text a run on the artifact's own threads. `threads`: one text a run, one thread a core. `sorted`: as `threads`,
with runs of like length; only a service that knows every text beforehand could do so.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from evergreen.model.inference import Calibration, Classifier, softmax

BUDGET = 256  # tokens of a sorted run
ANY = Calibration(temperature=1.0, threshold=0.5)


def measure(plan: dict[str, Any]) -> dict[str, Any]:
    """Return for each variant requests a second, milliseconds of each run, and CPU seconds for 1,000 texts."""
    folder, texts, seconds, cores = Path(plan["artifact"]), plan["texts"], plan["seconds"], plan["cores"]
    whole, slim = Classifier(folder, ANY), Classifier(folder, ANY, threads=1)
    single = [[text] for text in texts]
    found = {"single": _timed(whole, single, seconds, 1), "threads": _timed(slim, single, seconds, cores)}
    if not slim.alone:
        found["sorted"] = _timed(slim, _sorted(slim, texts), seconds, cores)
    return found


def _sorted(classifier: Classifier, texts: Sequence[str]) -> list[list[str]]:
    lengths = dict(zip(texts, map(len, classifier.tokens(texts)), strict=True))
    batches: list[list[str]] = []
    for text in sorted(texts, key=lengths.__getitem__):
        if batches and (len(batches[-1]) + 1) * lengths[text] <= BUDGET:
            batches[-1].append(text)
        else:
            batches.append([text])
    return batches


def _timed(classifier: Classifier, batches: Sequence[Sequence[str]], seconds: float, callers: int) -> dict[str, Any]:
    """Answer all batches again and again, `callers` at once, until the time is up (and every batch was answered as often as any)."""

    def answer(batch: Sequence[str]) -> float:
        start = time.perf_counter()
        softmax(classifier.run(classifier.tokens(batch))[0], 1.0)
        return (time.perf_counter() - start) * 1e3

    for batch in batches[:: max(1, len(batches) // 20)]:
        answer(batch)
    return _rounds(answer, batches, seconds, callers)


def _rounds(answer: Callable[[Sequence[str]], float], batches: Sequence[Sequence[str]], seconds: float, callers: int) -> dict[str, Any]:
    took: list[float] = []
    texts = 0
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    with ThreadPoolExecutor(callers) as pool:
        while time.perf_counter() < start + seconds:
            took += pool.map(answer, batches)
            texts += sum(map(len, batches))
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"rate": texts / wall, "answered": took, "cpu": cpu / texts * 1e3}


if __name__ == "__main__":
    json.dump(measure(json.load(sys.stdin)), sys.stdout)
