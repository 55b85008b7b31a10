"""Prefect's server as a user meets it: start a run of a deployment, and watch it to its end."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any
from uuid import uuid4

EVERY = 1.0  # seconds
PATIENCE = 90.0
ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class Prefect:
    """The API of a server."""

    def __init__(self, api: str) -> None:
        self.api = api

    def start(self, deployment: str, parameters: dict[str, Any] | None = None) -> str:
        """Start a run of `flow/deployment` and return its id."""
        found = self._ask("GET", f"deployments/name/{deployment}")
        wish = {"parameters": parameters or {}, "idempotency_key": uuid4().hex}
        return str(self._ask("POST", f"deployments/{found['id']}/create_flow_run", wish)["id"])

    def watch(self, run: str, show: Callable[[str, str], None], seconds: float) -> dict[str, Any]:
        """Wait for the end of a run and return it; `show` gets the step that runs and the newest line of the run's log."""
        deadline = time.monotonic() + seconds
        while True:
            found: dict[str, Any] = self._ask("GET", f"flow_runs/{run}")
            if found["state_type"] in ENDED:
                return found
            show(self._step(run), self._line(run))
            if time.monotonic() > deadline:
                raise SystemExit(f"run {found['name']} has not ended within {seconds:.0f} s; it is {found['state_name']}")
            time.sleep(EVERY)

    def newest(self, deployment: str, after: float, seconds: float) -> str | None:
        """Return the newest run of a deployment that was created after a point in time, waiting for one that long."""
        found = self._ask("GET", f"deployments/name/{deployment}")
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(after))
        query = {
            "deployments": {"id": {"any_": [found["id"]]}},
            "flow_runs": {"expected_start_time": {"after_": moment}, "state": {"type": {"not_any_": ["CANCELLED"]}}},
            "sort": "EXPECTED_START_TIME_DESC",
            "limit": 1,
        }
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if runs := self._ask("POST", "flow_runs/filter", query):
                return str(runs[0]["id"])
            time.sleep(EVERY)
        return None

    def _step(self, run: str) -> str:
        query = {"flow_runs": {"id": {"any_": [run]}}, "task_runs": {"state": {"type": {"any_": ["RUNNING"]}}}, "limit": 1}
        tasks = self._ask("POST", "task_runs/filter", query)
        return str(tasks[0]["name"]) if tasks else ""

    def _line(self, run: str) -> str:
        query = {"logs": {"flow_run_id": {"any_": [run]}, "level": {"ge_": 20}}, "sort": "TIMESTAMP_DESC", "limit": 1}
        lines = self._ask("POST", "logs/filter", query)
        return str(lines[0]["message"]).strip() if lines else ""

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask, and ask again where the server has too much to do (its SQLite says so with 503)."""
        data = None if body is None else json.dumps(body).encode()
        deadline = time.monotonic() + PATIENCE
        while True:
            request = urllib.request.Request(f"{self.api}/{path}", data, {"content-type": "application/json"}, method=method)
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as refused:
                if refused.code != 503 or time.monotonic() > deadline:
                    raise SystemExit(f"Prefect answered {method} {path} with {refused.code}: {refused.read()[:300]!r}") from None
            time.sleep(EVERY)
