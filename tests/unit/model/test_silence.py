"""ONNX Runtime tells its makers nothing."""

import os
import subprocess
import sys
from pathlib import Path

from tests.factories import tiny_artifact, tiny_calibration

ROOT = Path(__file__).parents[3]
USE = """
import sys
from pathlib import Path
from evergreen.errors import EvidenceError
from evergreen.model.inference import Classifier
artifact, calibration = map(Path, sys.argv[1:])
print(Classifier.load(artifact, calibration).probabilities(["card please"]).shape)
try:
    Classifier.load(artifact / "missing", calibration)
except EvidenceError:
    pass
"""


def test_a_model_at_work_keeps_no_account_for_the_makers_of_its_runtime(tmp_path: Path) -> None:
    """Where telemetry is on, the runtime puts a device id and a database of events below the home directory at its first session."""
    home = tmp_path / "home"
    home.mkdir()
    artifact, calibration = tiny_artifact(tmp_path / "artifact"), tiny_calibration(tmp_path / "calibration.json")
    kept = {name: value for name, value in os.environ.items() if name not in {"ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME"}}
    environment = kept | {"HOME": str(home), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", USE, str(artifact), str(calibration)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.startswith("(1, ") and "telemetry" not in done.stderr
    assert [path for path in home.rglob("*") if path.is_file()] == []
