"""`make clean` takes away what the pipeline made, and nothing that it could not make again."""

import shutil
import subprocess
from pathlib import Path

from flows.bridge.pipeline import written

ROOT = Path(__file__).parents[1]
# Ways to lose what nobody can make again: a person's data and backbone, answers and labels, keys, versions, who was live.
STATE = ("traffic.sqlite", "keys.json", "signing/key", "trusted/key.pub", "remote/files/md5/00/00", "serve/live.json",
         "prefect/prefect.db", "spool/journal", "monitor/report.html", "worktrees/run/file")  # fmt: skip
PRECIOUS = ("data/mine.parquet", "data/source/base.csv", "models/backbone/model.safetensors", "dvc.lock", ".dvc/cache/files/md5/00/00",
            *(f".evergreen/{name}" for name in STATE))  # fmt: skip


def test_clean_removes_every_output_and_nothing_that_cannot_be_made_again(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    made = [*written(ROOT), *(Path(".evergreen") / name for name in ("checkpoints/a/step-1", "package/context", "locks/split.lock"))]
    for path in [*made, *map(Path, PRECIOUS)]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("something")
    done = subprocess.run(["make", "clean"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [path for path in made if (tmp_path / path).exists()] == []
    assert [path for path in PRECIOUS if not (tmp_path / path).exists()] == []
