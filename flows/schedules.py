"""When what runs by itself runs: the schedules of params.yaml, in the words of prefect.yaml's placeholders.

A build step of prefect.yaml, so that `prefect deploy` and `evergreen deploy` take them from the same place. Imports nothing of Prefect.
"""

from pathlib import Path
from typing import Any

from evergreen.config import Params, load_params

NEVER = "0 0 1 1 *"  # of a schedule that is switched off: Prefect takes none without an expression


def from_params(file: str = "params.yaml") -> dict[str, dict[str, Any]]:
    """Return the placeholders' values, by deployment, as a file of the present folder says."""
    return placeholders(load_params(Path(file)))


def placeholders(params: Params) -> dict[str, dict[str, Any]]:
    """Return each deployment's cron expression, and whether it is on."""
    crons = {"monitor": params.monitor.schedule, "retrain": params.retrain.schedule}
    return {name: {"cron": cron or NEVER, "scheduled": cron is not None} for name, cron in crons.items()}
