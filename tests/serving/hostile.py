"""What tests of hostile callers share: the server that they meet, and what a refusal is."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.serving.raw_client import Got

ROOT = Path(__file__).parents[2]
GROWTH = 50 * 2**20


@dataclass
class Served:
    port: int
    process: subprocess.Popen
    said: Path

    def callers(self) -> set[int]:
        """Return the ports at the other ends of its open connections."""
        found = psutil.Process(self.process.pid).net_connections("tcp")
        return {one.raddr.port for one in found if one.raddr}

    def memory(self) -> int:
        return psutil.Process(self.process.pid).memory_info().rss


def refused(got: Got, *statuses: int) -> None:
    assert got.status in (statuses or range(400, 500)), got
    told = got.json()
    assert told["error"] and all(fault["what"] for fault in told["detail"])
