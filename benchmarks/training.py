"""Fine-tuning speed: batches as an unpadded stream, padded batches, and the Hugging Face Trainer with dynamic padding.

    python -m benchmarks.training [--threads 2] [--device cuda]

All ways train the same backbone on the same rows in the same order with the same optimiser, each measurement in a process
of its own; the rounds go through all ways in turn, so that whatever else the machine does hits all alike.

The Trainer needs the package accelerate, which the project itself does not use: `pip install accelerate` (1.15.0 fits
the pinned versions) into an environment that you can throw away. Without it that row is left out.
"""

import argparse
import importlib.util
import multiprocessing
import os
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from transformers import DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments

from benchmarks._page import Figures, machine, publish
from evergreen.config import load_params
from evergreen.model import backbone, environment
from evergreen.model.packing import padded_logits
from evergreen.model.training import Encoded, Training
from evergreen.sections.pipeline import Finetune
from stages import ENVIRONMENT

ROOT = Path(__file__).parents[1]
PACKED, PADDED, TRAINER = "unpadded", "padded", "HF Trainer"
WAYS = (PADDED, PACKED, TRAINER)
INBOX, TAILED = "messages of the inbox", "long-tailed lengths"
WARM_UP = 2  # steps before the clock starts
MEDIAN_TOKENS, SPREAD, SHORTEST = 24, 0.9, 6  # of the log-normal lengths, in tokens
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Job:
    """One measurement: how batches are made, on which rows, in what arithmetic, where."""

    way: str
    rows: str
    precision: str
    device: str
    threads: int
    steps: int
    settings: Finetune


@dataclass(frozen=True)
class Speed:
    """Samples per second by the clock and by the CPU, and the peak of memory in MiB (resident set; of the GPU on CUDA)."""

    by_clock: float
    by_cpu: float
    peak: float


class Clock:
    """Notes wall and CPU seconds at the end of each step."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.ends: list[tuple[float, float]] = []

    def __call__(self, *_: Any) -> None:
        """Note the time; takes and ignores whatever a step tells."""
        if self.device == "cuda":
            torch.cuda.synchronize()
        self.ends.append((time.perf_counter(), time.process_time()))

    def speed(self, batch_size: int) -> Speed:
        """Return the speed between the end of the warm-up and the last step but one, after which evergreen's loop validates."""
        (wall_from, cpu_from), (wall_to, cpu_to) = self.ends[WARM_UP - 1], self.ends[-2]
        samples = batch_size * (len(self.ends) - 1 - WARM_UP)
        return Speed(samples / (wall_to - wall_from), samples / (cpu_to - cpu_from), self._peak())

    def _peak(self) -> float:
        if self.device == "cuda":
            return torch.cuda.max_memory_allocated() / MEBIBYTE
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class InOrder(Training):
    """Evergreen's training, rows in their given order."""

    def _order(self, epoch: int) -> list[int]:
        return list(range(len(self.train.rows)))


class EndOfStep(TrainerCallback):
    """Tells the clock of the Trainer's steps."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Note the time."""
        self.clock()


def main() -> None:
    """Measure every way in every round and publish the medians."""
    given = _arguments()
    on = machine(given.threads, gpu=torch.cuda.get_device_name() if given.device == "cuda" else None)
    settings = load_params(ROOT / "params.yaml").finetune.model_copy(
        update={"epochs": 1, "batch_size": given.batch, "patience": 0, "keep": "last", "threads": given.threads}
    )
    ways = [way for way in WAYS if way != TRAINER or importlib.util.find_spec("accelerate")]
    jobs = [
        Job(way, rows, precision, given.device, given.threads, WARM_UP + given.steps + 1, settings)
        for rows in (INBOX, TAILED)
        for precision in ("fp32", "bf16")
        for way in ways
    ]
    found: dict[Job, list[Speed]] = {job: [] for job in jobs}
    for number in range(given.rounds):
        for place, (job, speeds) in enumerate(found.items()):
            speeds.append(apart(measured, job))
            print(f"round {number + 1} of {given.rounds}: {place + 1} of {len(jobs)}", file=sys.stderr, flush=True)
    publish(
        "training" if given.device == "cpu" else f"training-{given.device}",
        title="Fine-tuning speed of the default backbone",
        command=(
            f"python -m benchmarks.training --device {given.device} --threads {given.threads} --batch {given.batch} "
            f"--steps {given.steps} --rounds {given.rounds}"
        ),
        on=on,
        tables=[_table(rows, found) for rows in (INBOX, TAILED)],
        notes=[
            "Unpadded: evergreen's loop, a batch as one stream of its real tokens. Padded: the same loop, a batch padded to its longest "
            "row. HF Trainer: padded likewise, by DataCollatorWithPadding.",
            f"Batches of {given.batch} rows, {given.steps} steps after {WARM_UP} of warm-up; medians of {given.rounds} rounds. "
            "The ratio is by CPU seconds on a CPU, by the clock on a GPU, against padded batches of the same arithmetic in the "
            "same round. Memory is the whole process's peak.",
            *(
                []
                if TRAINER in ways
                else ["The Hugging Face Trainer was left out: it needs the package accelerate, which is not installed."]
            ),
        ],
    )


def apart(function: Callable[[Job], Speed], job: Job) -> Speed:
    """Run in a process of its own, forked from one that has imported the libraries but computed nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["transformers.trainer", "evergreen.model.backbone", "evergreen.model.training"])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, job).result()


def measured(job: Job) -> Speed:
    """Train a few steps in this process and return the speed."""
    torch.set_num_threads(job.threads)
    settings, source = job.settings, job.settings.backbone
    if job.way != TRAINER:
        environment.fix(threads=job.threads, seed=settings.seed)  # as the finetune stage does
    found = backbone.find(source.source, revision=source.revision, expected=source.sha256, allow_download=source.allow_download)
    tokenizer = backbone.load_tokenizer(found.folder)
    texts, labels = messages()
    texts = texts if job.rows == INBOX else long_tailed(texts, tokenizer, settings)
    names = sorted(set(labels))
    loaded: Any = backbone.load_model(found, labels=names, source=source.source)
    model = loaded.to(job.device)
    number = job.steps * settings.batch_size
    rows = tokenizer(texts[:number], truncation=True, max_length=settings.max_tokens)["input_ids"]
    encoded = Encoded(rows, [names.index(label) for label in labels[:number]])
    clock = Clock(job.device)
    if job.way == TRAINER:
        _train_by_trainer(model, tokenizer, encoded, job, clock)
    else:
        watched = Encoded(rows[: settings.batch_size], encoded.labels[: settings.batch_size])
        training = InOrder(model, train=encoded, validation=watched, settings=settings, precision=job.precision, on_step=clock)
        if job.way == PADDED:
            training.forward = padded_logits
        training.run()
    return clock.speed(settings.batch_size)


def _train_by_trainer(model: Any, tokenizer: Any, encoded: Encoded, job: Job, clock: Clock) -> None:
    settings = job.settings
    rows = [{"input_ids": row, "labels": label} for row, label in zip(encoded.rows, encoded.labels, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            per_device_train_batch_size=settings.batch_size,
            num_train_epochs=1,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            max_grad_norm=settings.gradient_clip,
            train_sampling_strategy="sequential",
            bf16=job.precision == "bf16",
            use_cpu=job.device == "cpu",
            seed=settings.seed,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        collator = DataCollatorWithPadding(tokenizer)
        Trainer(model, arguments, data_collator=collator, train_dataset=rows, callbacks=[EndOfStep(clock)]).train()


def messages() -> tuple[list[str], list[str]]:
    """Return the texts and labels of the example inbox's first period, in a fixed random order."""
    table = pd.read_csv(ROOT / "examples" / "inbox" / "2025-01_to_2025-08.csv", dtype=str).dropna(subset=["text", "team"])
    table = table.sample(frac=1, random_state=0)
    return table["text"].tolist(), table["team"].tolist()


def long_tailed(texts: Sequence[str], tokenizer: Any, settings: Finetune) -> list[str]:
    """Return texts cut and joined from the given ones to log-normal lengths: half are short, a few reach `max_tokens`."""
    draw = random.Random(settings.seed)
    words = " ".join(texts)
    ids = tokenizer(words, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
    made, place = [], 0
    for _ in texts:
        length = round(min(settings.max_tokens - 2, max(SHORTEST, draw.lognormvariate(0, SPREAD) * MEDIAN_TOKENS)))
        place = place if place + length <= len(ids) else 0
        made.append(tokenizer.decode(ids[place : place + length]))
        place += length
    return made


def _table(rows: str, found: dict[Job, list[Speed]]) -> Figures:
    columns = ["batches", "arithmetic", "samples per CPU second", "samples per second", "peak MiB", "ratio", "lowest … highest"]
    lines = []
    for job, speeds in found.items():
        if job.rows != rows:
            continue
        plain = next(other for key, other in found.items() if (key.rows, key.precision, key.way) == (rows, job.precision, PADDED))
        ratios = [_relevant(job, mine) / _relevant(job, its) for mine, its in zip(speeds, plain, strict=True)]
        middle = [statistics.median(getattr(speed, name) for speed in speeds) for name in ("by_cpu", "by_clock", "peak")]
        spread = f"{min(ratios):.1f} … {max(ratios):.1f}" if job.way != PADDED else ""
        shown = [f"{middle[0]:.1f}", f"{middle[1]:.1f}", f"{middle[2]:,.0f}", f"{statistics.median(ratios):.1f}", spread]
        lines.append([job.way, job.precision, *shown])
    return Figures(rows.capitalize(), columns, lines, words=(0, 1))


def _relevant(job: Job, speed: Speed) -> float:
    return speed.by_clock if job.device == "cuda" else speed.by_cpu


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description="Fine-tuning speed.")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads (default: every core)")
    parser.add_argument("--batch", type=int, default=32, help="rows of a batch")
    parser.add_argument("--steps", type=int, default=6, help="steps timed in each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        sys.exit("--device cuda: torch sees no CUDA device")
    return given


if __name__ == "__main__":
    os.environ.update(ENVIRONMENT)
    main()
