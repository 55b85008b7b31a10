"""A few words with Prefect's server over HTTP, without importing Prefect: that takes seconds, and a program that only tells needs none.

`emit` says whether the server has taken an event, which Prefect's own client leaves open.
"""

import base64
import json
import os
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from socket import gethostname
from typing import Any
from uuid import uuid4

from flows import HOME

SECONDS = 10
MARK = "evergreen project "  # begins the tag by which a deployment says whose it is
OURS = {"monitor", "retrain"}


def ask(api: str, path: str, body: Any, *, seconds: float = SECONDS) -> Any:
    """Post a question and return the answer, None for an empty one. Raises OSError where the server does not answer it."""
    headers = {"content-type": "application/json", **_authorization()}
    request = urllib.request.Request(f"{api}/{path}", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            content = answer.read()
    except HTTPException as fault:  # an answer broken off
        raise OSError(f"{type(fault).__name__}: {fault}") from None
    return json.loads(content) if content else None


def _authorization() -> dict[str, str]:
    """Return what Prefect's own client would send: a key, or a name and password."""
    if key := os.environ.get("PREFECT_API_KEY"):
        return {"authorization": f"Bearer {key}"}
    if both := os.environ.get("PREFECT_API_AUTH_STRING"):
        return {"authorization": f"Basic {base64.b64encode(both.encode()).decode()}"}
    return {}


def mark_of(project: str, home: Path = HOME) -> str:
    """Return the tag that says to which project a deployment belongs: an id that its state keeps, and for people host and folder."""
    place = home / "project-id"
    if not place.exists():
        home.mkdir(parents=True, exist_ok=True)
        beside = place.with_name(f".{place.name}.{uuid4().hex}")
        beside.write_text(uuid4().hex[:12], encoding="utf-8")
        with suppress(FileExistsError):  # another process was faster
            os.link(beside, place)
        beside.unlink()
    return f"{MARK}{place.read_text(encoding='utf-8')} {gethostname()}:{project}"


def others(api: str, project: str) -> list[str]:
    """Return the other projects whose deployments a server holds. Raises OSError where it does not answer."""
    found = [item["tags"] for item in ask(api, "deployments/filter", {}) if item["name"] in OURS]
    marks = {tag.removeprefix(MARK) for tags in found for tag in tags if tag.startswith(MARK)}
    own = mark_of(project).removeprefix(MARK).partition(" ")[0]
    return sorted(mark.partition(" ")[2] for mark in marks if mark.partition(" ")[0] != own)


def emit(api: str, event: str, *, resource: Mapping[str, str], payload: Mapping[str, Any]) -> None:
    """Have the server take an event. Raises OSError where it does not."""
    content = {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": event,
        "resource": dict(resource),
        "payload": dict(payload),
    }
    ask(api, "events", [content])


def cancelled(api: str, flow_run: str) -> bool:
    """Return whether somebody has cancelled a flow run. Raises OSError where the server does not say."""
    found = ask(api, "flow_runs/filter", {"flow_runs": {"id": {"any_": [flow_run]}}}) or []
    return any(run.get("state_type") in ("CANCELLING", "CANCELLED") for run in found)


def mark_crashed(api: str, flow_run: str, message: str) -> None:
    """Say that a flow run has crashed, which it cannot say itself. Raises OSError where the server does not take it."""
    ask(api, f"flow_runs/{flow_run}/set_state", {"state": {"type": "CRASHED", "name": "Crashed", "message": message}})
