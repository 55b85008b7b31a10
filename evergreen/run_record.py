"""How long a stage took and on what machine: the record behind durations, cost and energy in the dossier."""

import os
import platform
import resource
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class RunRecord:
    """Context manager that measures the process from `start` (seconds of the epoch) to its exit.

    `content` then holds `stage`, `started` (ISO 8601, UTC), `seconds` (wall), `cpu_seconds` (user + system, children
    included), `peak_megabytes` (resident set, 10^6 bytes), `machine` and `processor`.
    """

    def __init__(self, stage: str, start: float) -> None:
        self.stage = stage
        self.start = start
        self.content: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        self.content = {
            "stage": self.stage,
            "started": datetime.fromtimestamp(self.start, UTC).isoformat(timespec="seconds"),
            "seconds": round(time.time() - self.start, 3),
            "cpu_seconds": round(own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime, 3),
            "peak_megabytes": round(max(own.ru_maxrss, children.ru_maxrss) * 1024 / 1e6, 1),
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
            "processor": processor(),
        }


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name as its maker gives it, or the architecture where the system does not say."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
