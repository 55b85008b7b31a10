"""A stage that writes for a second: python tests/system/standins/stage.py FOLDER NAME. Whoever writes beside another is told of.

The lock is the kernel's, so that a killed writer has let go of it.
"""

import fcntl
import sys
import time
from pathlib import Path

STEPS, PAUSE = 15, 0.1


def main(folder: Path, name: str) -> None:
    with (folder / "writer.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with (folder / "violations").open("a") as violations:
                violations.write(f"{name} found another writer\n")
        for step in range(STEPS):
            (folder / "output.partial").write_text(f"{name} {step}\n")
            time.sleep(PAUSE)
        (folder / "output.partial").replace(folder / "output")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
