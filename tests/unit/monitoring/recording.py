"""A process that records answers, some thousand a second, and tells each one's id once it is on record; killed by tests.

python -m tests.unit.monitoring.recording URL SPOOL
"""

import sys
import time
from pathlib import Path

from evergreen.monitoring.log.recorder import Recorder
from tests.log_factories import answered


def main(url: str, spool: str) -> None:
    recorder = Recorder(url, Path(spool), keep_days=400, keep_megabytes=2000, spool_megabytes=64)
    recorder.start()
    number = 0
    while True:
        rows = [answered(f"text {number}"), answered(f"text {number}")] if number % 7 == 0 else [answered(f"text {number}")]
        recorder.answered(rows)
        sys.stdout.write("".join(f"{row.request_id}\n" for row in rows))
        sys.stdout.flush()
        number += 1
        time.sleep(0.0003)


if __name__ == "__main__":
    main(*sys.argv[1:])
