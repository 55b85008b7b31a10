"""Stands in for flows/retrain.py: the same flow, claim, lease, worktree, branch and ledger, around stages that only write for a second.

The project's own flows/retrain.py lies beside it as flows/retrain_itself.py.
"""

import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from evergreen.processes import stream
from evergreen.release.ledger import Ledger
from flows import HOME
from flows.bridge.pipeline import Pipeline
from flows.bridge.workspace import workspace
from flows.making import retraining
from flows.making.produce import Candidate, Order

retrain_itself = import_module("flows.retrain_itself")  # here it is only in the project that the stand-ins are put into
retrain = retrain_itself.retrain
STAGES = ("ingest", "finetune", "evaluate", "gate")
NOTES = HOME / "chaos"
RULE = {"rule": "macro_f1", "title": "Macro F1", "outcome": "fail", "value": 0.5, "interval": None, "bound": 0.7, "side": "at least"}


@task(name="stage", task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
def stage(folder: Path, name: str) -> None:
    """Run one stage as a process of its own."""
    script = folder / "tests" / "system" / "standins" / "stage.py"
    said = stream([sys.executable, str(script), str(NOTES), name], dict(os.environ), folder)
    while True:
        try:
            get_run_logger().info(next(said))
        except StopIteration as end:
            assert end.value == 0, f"{name} ended with status {end.value}"
            return


def produce(root: Path, order: Order, *, ledger: Ledger, step: Any, run: Callable[[Path, str], object], say: Any) -> Candidate:
    """Do the stages in a worktree, and put what came of them on branch and ledger."""
    registry = ledger.registry
    with workspace(root, order.code, purpose="retrain") as folder:
        for name in STAGES:
            run(folder, name)
        version = str(order.facts["retraining"])
        commit = registry.commit({"result": version.encode()}, f"model {version}", base=order.code, parents=[registry.head() or order.code])
        told = {"model_version": version, "commit": commit, "who": order.who, "why": order.why}
        step("record", lambda: ledger.append("candidate", **told, lands=commit, once=True, facts=dict(order.facts)))
    verdict = {"verdict": "HOLD", "summary": "HOLD: it is a stand-in", "rules": [{**RULE, "because": "it is a stand-in"}]}
    return Candidate(commit, commit, version, verdict, {}, {}, Pipeline([]), None)


retrain_itself.reproduce = stage
retraining.produce = produce
retraining.keep = lambda root, candidate: None
retraining._rows = lambda root, params, engine, say: (None, None)
