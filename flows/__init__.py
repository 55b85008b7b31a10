"""WHEN: Prefect flows and the command line. Thin: no modelling, no statistics. Stages are started through DVC alone.

The environment of every flow is set here, before Prefect and DVC read it: state under EVERGREEN_HOME, nothing calls home.
"""

import os

from evergreen.home import home
from evergreen.processes import die_with_parent

HOME = home().resolve()
WORKTREES = HOME / "worktrees"  # of isolated runs
ENVIRONMENT = {
    "EVERGREEN_HOME": str(HOME),
    "PREFECT_HOME": str(HOME / "prefect"),
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "BENTOML_DO_NOT_TRACK": "True",
    "BENTOML_HOME": str(HOME / "bentoml"),
}

for name, value in ENVIRONMENT.items():
    os.environ.setdefault(name, value)

if "PREFECT__FLOW_RUN_ID" in os.environ:  # started by a worker: a run whose worker is killed must not go on unseen
    die_with_parent()
