"""The service under load, beside the service that most people would write first and beside the bare model.

    python -m benchmarks.serve [--checkout FOLDER] [--seconds N]

Measured in one run, on loopback, with the test texts of a checkout in which the pipeline has run: a BentoML service around
transformers.pipeline, ours in fp32 and in int8, and ONNX Runtime in-process. The client (`_load.py`) is a process of its own and shares the
cores with what it measures.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._packaged import Packaged, packaged
from benchmarks._page import Figures, machine, publish
from benchmarks._served import Served, free_port, served
from evergreen.params_file import edit_params

ROOT = Path(__file__).parents[1]
LONG_SHARE = 0.1  # of the mixed texts: several messages in one, beyond the model's limit of tokens
LONG_MESSAGES = 12
OVERLOAD = 10
SEED = 17


@dataclass(frozen=True)
class Workload:
    """Texts under a name."""

    name: str
    texts: Sequence[str]


@dataclass
class Tables:
    """The rows of each table, as they are measured."""

    loads: list[list[str]] = field(default_factory=list)
    mixed: list[list[str]] = field(default_factory=list)
    ceiling: list[list[str]] = field(default_factory=list)
    processes: list[list[str]] = field(default_factory=list)
    flood: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True)
class Measured:
    """A service in a few figures: what 32 callers got through, their p99, p99 at half of that load (milliseconds), start, memory."""

    rate: float
    busy: float
    half: float
    ready: float
    megabytes: float


def main() -> None:
    """Measure everything and publish the tables."""
    given = _parse()
    on = machine()
    with tempfile.TemporaryDirectory(prefix="evergreen-serve-") as folder:
        bench = Path(folder)
        ours = [packaged(given.checkout, precision, bench) for precision in given.precisions]
        messages = Workload("messages", ours[0].texts)
        mixed = Workload("messages, one in ten long", _with_long_ones(ours[0].texts))
        tables, found = Tables(), {}
        bare = {each.precision: _ceiling(each, messages, given.seconds, tables) for each in ours}
        if not given.without_naive:
            with _naive(given.checkout, bench) as service:
                found["naive"] = _measure("naive BentoML", service, messages, mixed, given.seconds, tables)
        for each in ours:
            with _ours(each, bench) as service:
                found[each.precision] = _measure(f"ours, {each.precision}", service, messages, mixed, given.seconds, tables)
                _flood(f"ours, {each.precision}", service, messages, found[each.precision].rate, given.seconds, tables)
    publish(
        "serve",
        title="The service under load",
        command="python -m benchmarks.serve",
        on=on,
        tables=[
            Figures("What was wanted", ("", "wanted", *given.precisions), _wanted(given.precisions, found, bare), words=(0, 1)),
            Figures("Messages of the test split, one a request", LOADS, tables.loads, words=(0, 1)),
            Figures("The same, one text in ten longer than the model reads", LOADS, tables.mixed, words=(0, 1)),
            Figures("The bare model: ONNX Runtime in-process", CEILING, tables.ceiling, words=(0, 1)),
            Figures("The processes", PROCESSES, tables.processes),
            Figures(f"{OVERLOAD} times as much as it can answer", FLOOD, tables.flood),
            *([Figures("What int8 costs, on the test split", PRICE, [_price(ours)])] if len(ours) == 2 else []),
        ],
        notes=NOTES,
    )


def _wanted(precisions: Sequence[str], found: dict[str, Measured], bare: dict[str, float]) -> list[list[str]]:
    """Return each figure that was wanted of the service beside what was measured."""
    ours = [found[precision] for precision in precisions]
    rows = [
        ["of the bare model's single texts, 32 callers", "half", *(f"{found[each].rate / bare[each]:.2f}" for each in precisions)],
        ["p99 at half load, ms", "< 50", *(f"{each.half:,.1f}" for each in ours)],
        ["start to ready, s", "< 6", *(f"{each.ready:.1f}" for each in ours)],
        ["memory at most, MB", "< 600", *(f"{each.megabytes:,.0f}" for each in ours)],
    ]
    if naive := found.get("naive"):
        rows.insert(0, ["times the naive service's requests/s, 32 callers", "4", *(f"{each.rate / naive.rate:.1f}" for each in ours)])
        rows.insert(1, ["p99 of 32 callers, ms", f"< {naive.busy:,.0f} (naive)", *(f"{each.busy:,.0f}" for each in ours)])
    return rows


LOADS = ("service", "load", "requests/s", "p50 ms", "p95 ms", "p99 ms", "errors", "CPU s per 1,000")
CEILING = ("model", "variant", "texts/s", "p50 ms", "p99 ms", "CPU s per 1,000")
PROCESSES = ("service", "processes", "start to ready, s", "MB when ready", "MB after the load", "MB at most")
FLOOD = (
    "service",
    "offered/s",
    "answered/s",
    "p99 ms of these",
    "refused (429)",
    "p99 ms of these",
    "other",
    "health p99 ms",
    "health at most",
    "MB at most",
)
PRICE = ("texts", "fp32 accuracy", "int8 accuracy", "int8 minus fp32 (95%)", "labels that differ")
NOTES = (
    "Closed: so many callers, each asks again as soon as it is answered. Open: arrivals by chance (Poisson) at a share of what 32 callers "
    "got through, latency from the moment a request was due.",
    "Errors: anything but status 200. CPU: of all processes of the service, without the client. MB: resident memory of all processes, what "
    "they share counted in each.",
)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve", description="The service under load.")
    parser.add_argument("--checkout", type=Path, default=ROOT, metavar="FOLDER", help="where the pipeline has run (default: here)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load")
    parser.add_argument("--precisions", nargs="+", choices=("fp32", "int8"), default=["fp32", "int8"])
    parser.add_argument("--without-naive", action="store_true", help="measure only ours")
    return parser.parse_args()


def _with_long_ones(texts: Sequence[str]) -> list[str]:
    chance = np.random.default_rng(SEED)
    long = chance.random(len(texts)) < LONG_SHARE
    return [" ".join(chance.choice(texts, LONG_MESSAGES)) if each else text for each, text in zip(long, texts, strict=True)]


def _naive(checkout: Path, bench: Path) -> Any:
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "bentoml",
        "serve",
        "benchmarks.naive_service.service:Naive",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    return served(
        command, folder=ROOT, port=port, CLASSIFIER=str(checkout.resolve() / "models" / "classifier"), BENTOML_HOME=str(bench / "bentoml")
    )


def _ours(model: Packaged, bench: Path) -> Any:
    """Serve as `evergreen serve` does, every knob as it comes but for the limit of each key: that is not what is measured."""
    port = free_port()
    params = bench / "params.yaml"
    shutil.copyfile(ROOT / "params.yaml", params)
    edit_params(params, {"serve.texts_per_second": 1e6, "serve.burst": 1_000_000})
    command = [sys.executable, "-m", "serving", str(model.bento), "--params", str(params), "--port", str(port)]
    return served(command, folder=ROOT, port=port, EVERGREEN_HOME=str(bench / f"home-{model.precision}"))


def _measure(name: str, service: Served, messages: Workload, mixed: Workload, seconds: float, tables: Tables) -> Measured:
    """Put a service under every load."""
    ready = service.memory()
    _load(service, messages, seconds=2, callers=4)
    for callers in (1, 8, 32):
        found = _load(service, messages, seconds=seconds, callers=callers)
        tables.loads.append(_row(name, f"closed, {callers} caller{'s' if callers > 1 else ''}", found))
    rate, busy = len(found["answered"]) / found["seconds"], float(np.percentile(found["answered"], 99))
    opened = {share: _load(service, messages, seconds=seconds, rate=share * rate) for share in (0.5, 0.9)}
    tables.loads += [_row(name, f"open, {share:.0%} of that", found) for share, found in opened.items()]
    for callers in (1, 32):
        found = _load(service, mixed, seconds=seconds, callers=callers)
        tables.mixed.append(_row(name, f"closed, {callers} caller{'s' if callers > 1 else ''}", found))
    found = _load(service, mixed, seconds=seconds, rate=0.5 * len(found["answered"]) / found["seconds"])
    tables.mixed.append(_row(name, "open, 50% of that", found))
    megabytes = [f"{size / 1e6:,.0f}" for size in (ready, service.memory(), service.peak)]
    tables.processes.append([name, str(service.processes()), f"{service.ready_seconds:.1f}", *megabytes])
    return Measured(rate, busy, float(np.percentile(opened[0.5]["answered"], 99)), service.ready_seconds, service.peak / 1e6)


def _flood(name: str, service: Served, work: Workload, capacity: float, seconds: float, tables: Tables) -> None:
    with ThreadPoolExecutor(1) as beside:
        # From a process of its own: the client that floods is late for its own looks, too.
        looking = beside.submit(_load, service, work, seconds=seconds, health="/livez")
        found = _load(service, work, seconds=seconds, rate=OVERLOAD * capacity)
    health = looking.result()["health"]
    statuses = {int(status): count for status, count in found["statuses"].items()}
    other = ", ".join(f"{count} × {status}" for status, count in sorted(statuses.items()) if count and status not in (200, 429)) or "0"
    tables.flood.append(
        [
            name,
            f"{sum(statuses.values()) / seconds:,.0f}",
            f"{statuses.get(200, 0) / found['seconds']:,.0f}",
            _quantile(found["answered"], 99),
            f"{statuses.get(429, 0) / sum(statuses.values()):.1%}",
            _quantile(found["refused"], 99),
            other,
            _quantile(health, 99),
            _quantile(health, 100),
            f"{service.peak / 1e6:,.0f}",
        ]
    )


def _load(service: Served, work: Workload, *, seconds: float, **plan: Any) -> dict[str, Any]:
    """Run the client; add the CPU seconds that the service spent meanwhile."""
    bodies = [{"text": text} for text in work.texts]
    told = {"host": "127.0.0.1", "port": service.port, "bodies": bodies, "seconds": seconds, "seed": SEED, **plan}
    before = service.cpu()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks._load"], input=json.dumps(told), cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"the client failed:\n{done.stderr}\nThe service said:\n{service.said()}")
    found: dict[str, Any] = json.loads(done.stdout)
    found["service_cpu"] = service.cpu() - before
    print(
        f"  {plan} {work.name}: {len(found['answered']) / found['seconds']:.0f}/s, client {found['cpu']:.1f} CPU s",
        file=sys.stderr,
        flush=True,
    )
    return found


def _row(name: str, load: str, found: dict[str, Any]) -> list[str]:
    answered = found["answered"]
    errors = sum(count for status, count in found["statuses"].items() if int(status) != 200)
    quantiles = [_quantile(answered, share) for share in (50, 95, 99)]
    return [
        name,
        load,
        f"{len(answered) / found['seconds']:,.0f}",
        *quantiles,
        f"{errors:,}",
        f"{found['service_cpu'] / max(1, len(answered)) * 1e3:.1f}",
    ]


def _quantile(values: Sequence[float], share: float) -> str:
    return f"{np.percentile(values, share):,.1f}" if values else "-"


def _ceiling(model: Packaged, work: Workload, seconds: float, tables: Tables) -> float:
    """Measure the bare model; return single texts a second, on the artifact's own threads or on one thread a core, whichever is more."""
    plan = {"artifact": str(model.artifact.resolve()), "texts": list(work.texts), "seconds": seconds, "cores": os.cpu_count()}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks._ceiling"], input=json.dumps(plan), cwd=ROOT, capture_output=True, text=True, check=True
    )
    named = {
        "single": "one text a run, the artifact's threads",
        "threads": "one text a run, a thread a core",
        "sorted": "runs of like length, a thread a core",
    }
    measured = json.loads(done.stdout)
    for variant, found in measured.items():
        took = found["answered"]
        figures = [f"{found['rate']:,.0f}", _quantile(took, 50), _quantile(took, 99), f"{found['cpu']:.1f}"]
        tables.ceiling.append([model.precision, named[variant], *figures])
    return float(max(measured["single"]["rate"], measured["threads"]["rate"]))


def _price(models: Sequence[Packaged]) -> list[str]:
    """Return the accuracies of fp32 and int8 on the same texts, and their difference with a paired bootstrap interval."""
    full, small = (model.right for model in models)
    difference = small.astype(float) - full
    draws = np.random.default_rng(SEED).integers(len(full), size=(5000, len(full)))
    low, high = np.percentile(difference[draws].mean(axis=1), [2.5, 97.5])
    differ = (models[0].predicted != models[1].predicted).sum()
    between = f"{difference.mean():+.3f} ({low:+.3f} … {high:+.3f})"
    return [f"{len(full)}", f"{full.mean():.3f}", f"{small.mean():.3f}", between, str(differ)]


if __name__ == "__main__":
    main()
