"""WHERE: one runner per stage of dvc.yaml, in its order: load, call evergreen, save.

The environment of every stage is set here, before any library reads it. Threads that wait for one another sleep
instead of spinning: on a machine with other work a spinning training is fifty times slower, on a quiet one no faster. Sums of
numpy's matrix products are added in one thread: in several their order, and with it the last digit, depends on the number of cores.
Nothing calls home and nothing asks the network unless `finetune.backbone.allow_download` says so.
"""

import importlib.util
import os
import sys

ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
    "DO_NOT_TRACK": "1",
    "BENTOML_DO_NOT_TRACK": "True",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}

for name, value in ENVIRONMENT.items():
    os.environ.setdefault(name, value)
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # whatever the shell says: the record names no such number

if importlib.util.find_spec("pandas") is None:
    sys.exit(
        f"{sys.executable} does not have the project's dependencies: run `make run`, or activate the environment that has them "
        "(`source .venv/bin/activate`), then run again"
    )
