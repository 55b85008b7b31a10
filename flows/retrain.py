"""The retraining as a Prefect flow: its stages as tasks, the verdict and what led to it as artifacts.

What a retraining is stands in flows/making/retraining.py, and works without Prefect.
"""

from functools import partial
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.states import Completed

from flows.making.retraining import Asked, Outcome, by_release_flow, retraining
from flows.making.words import markdown
from flows.pages import rules
from flows.running.alerting import cancelled
from flows.running.connection import api
from flows.tasks import as_task, reproduce


@flow(name="retrain", log_prints=False)
def retrain(
    root: Path,
    wanted: dict[str, Any] | None = None,
    event: str | None = None,
    person: str | None = None,
    reason: str | None = None,
    force: bool = False,
) -> State[str]:
    """Make a new version: data, training, gate, release.

    `wanted` and `event` come from an alert's event, `person` and `reason` from whoever starts a run by hand; without any of them it was
    a schedule. A run that is one too many ends as "Refused", and changes nothing.
    """
    root = root.resolve()  # deployments say ".", wherever they run
    by_hand = person or ("somebody" if reason else None)
    asked = Asked(wanted, event, _due() if wanted is None and by_hand is None else None, by_hand, reason, force)
    name = _run_id()
    given_up = partial(cancelled, api(), name)
    outcome = retraining(root, asked, flow_run=name, cancelled=given_up, step=as_task, run=reproduce, say=_say, release=by_release_flow)
    _show(outcome)
    named = "Refused" if outcome.candidate is None else str(outcome.candidate.verdict["verdict"]).capitalize()
    return Completed(name=named, message=outcome.words, data=outcome.words)


def _say(words: str) -> None:
    """Say it in the log of the task that is at work, or of the flow run between two."""
    get_run_logger().info(words)


def _run_id() -> str | None:
    context = FlowRunContext.get()
    return str(context.flow_run.id) if context and context.flow_run else None


def _due() -> str:
    """Return the moment at which a schedule asked for this run: a run that is made twice for it is the same wish."""
    context = FlowRunContext.get()
    moment = context.flow_run.expected_start_time if context and context.flow_run else None
    return str(moment.isoformat()) if moment else "no time"


def _show(outcome: Outcome) -> None:
    """Leave what it came to where Prefect shows it."""
    create_markdown_artifact(markdown(outcome), key="retraining", description=outcome.words)
    if outcome.candidate is not None:
        create_table_artifact(rules(outcome.candidate.verdict), key="verdict", description=str(outcome.candidate.verdict["summary"]))
