"""The library: computes on arguments, and knows no file name of the pipeline, no Prefect and no DVC."""

import os

# ONNX Runtime keeps account of what it does, its errors' words included, and sends that to its makers. It looks at this when it
# is imported, so it stands where nothing of ours can come before it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
