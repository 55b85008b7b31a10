import os
import tempfile

# Prefect makes its home when it is imported; a test run has one of its own and takes it away at the end.
_home = tempfile.TemporaryDirectory(prefix="prefect-")
os.environ["PREFECT_HOME"] = _home.name
