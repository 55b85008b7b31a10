"""How a version is produced: in a worktree of its own, from a commit of inputs to a commit of results, and onto the ledger.

    I, the inputs    the code's newest commit with the settings of this run and pointers to its data; the stages run at I, clean
    R, the results   I with dvc.lock and the metrics; its data is at the remote before the branch `evergreen/models` shows it

The branch moves once, when all is done, so that a run that is killed leaves nothing behind but a worktree to sweep. Each part is handed
to `step`, which may make a task of it. Works without Prefect, and without anybody having claimed anything.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evergreen.config import Params
from evergreen.release.ledger import Ledger
from evergreen.release.plumbing import Git
from evergreen.release.registry import Registry
from evergreen.reports import read_report
from flows.bridge import DVC_LOCK
from flows.bridge.pipeline import Pipeline, environment, read_pipeline
from flows.bridge.remote import push
from flows.bridge.session import session
from flows.bridge.workspace import workspace
from flows.making.champion import Champion
from flows.making.inputs import Gathered, placed_in
from flows.steps import Step

RECORD = "provenance"  # the output that says where a model comes from, its commit included
REPORTS = {"verdict": "gate", "metrics": "evaluate"}


@dataclass(frozen=True)
class Order:
    """What is to be produced: from which commit of the code, for whom and why, and against which champion (None: a first version)."""

    code: str
    who: str
    why: str
    champion: Champion | None
    gathered: Gathered | None
    facts: Mapping[str, Any] = field(default_factory=dict)  # for the ledger
    keep_worktree: bool = False


@dataclass(frozen=True)
class Candidate:
    """What was produced: commits of inputs and results, the model's version, and what the reports say."""

    inputs: str
    commit: str
    model_version: str
    verdict: Mapping[str, Any]
    metrics: Mapping[str, Any]
    challenge: Mapping[str, Any]
    plan: Pipeline
    data: Mapping[str, Any] | None  # what the new data version is made of; None for a first version


def produce(root: Path, order: Order, *, ledger: Ledger, step: Step, run: Callable[..., object], say: Callable[[str], None]) -> Candidate:
    """Produce a candidate and put it, with its verdict, on the ledger. `run(folder, stage, force=...)` reproduces one stage."""
    with workspace(root, order.code, purpose="retrain", keep=order.keep_worktree) as folder:
        inputs = step("inputs", lambda: commit_inputs(ledger.registry, folder, order, say=say))
        plan = read_pipeline(folder)
        with session(folder, environment(folder)):
            for stage in plan.order:
                if not stage.endswith(".dvc"):  # data is where `commit_inputs` has put it
                    run(folder, stage)
                    if of_another_commit(folder, plan, stage, inputs):
                        say(f"{stage}: what DVC had kept names another commit; it is written anew")
                        run(folder, stage, force=True)
        return step("record", lambda: _recorded(root, folder, inputs, order, plan=plan, ledger=ledger))


def of_another_commit(folder: Path, plan: Pipeline, stage: str, commit: str) -> bool:
    """Say whether a stage's record of where the model comes from, restored from DVC's cache, is that of an earlier run.

    The commit is no dependency of the stage, so that a change of a page trains nothing anew; the record has to name it all the same.
    """
    if RECORD not in plan.outputs.get(stage, {}):
        return False
    return read_report(folder / plan.output(stage, RECORD))["code"]["commit"] not in (commit, None)


def commit_inputs(registry: Registry, folder: Path, order: Order, *, say: Callable[[str], None]) -> str:
    """Put data, champion and settings into the worktree and make the commit I, to which the worktree is moved."""
    files: dict[str, bytes] = {}
    if order.champion is not None and order.gathered is not None:
        from evergreen.config import load_params

        params: Params = load_params(folder / "params.yaml")
        files = placed_in(folder, plan=read_pipeline(folder), params=params, champion=order.champion, rows=order.gathered.rows, say=say)
        for line in _told(order.gathered.rows.report):
            say(line)
    head = registry.head()
    parents = [commit for commit in (head, order.code) if commit]
    commit = registry.commit(files, f"inputs of a retraining: {order.why}", base=order.code, parents=parents)
    Git(folder).run("reset", "--quiet", commit)
    return commit


def _told(report: Mapping[str, Any]) -> list[str]:
    """Return in words what a data version is made of."""

    def parts(counts: Mapping[str, int]) -> str:
        return ", ".join(f"{name} {rows:,}" for name, rows in counts.items())

    lines = [f"old rows: {parts(report['kept'])}", f"new rows: {parts(report['new'])}"]
    if report["new"]["test"]:
        lines[1] += f"; test rows are new from {report['since']} on" if report["since"] else ""
    if report["left_out"]:
        lines.append(f"{report['left_out']:,} old training rows are left out (retrain.rehearsal_rows)")
    if report["set_aside"]:
        lines.append(f"{report['set_aside']:,} new rows are set aside: each belongs to two splits, by who wrote it and by what it says")
    if report["held_back"]:
        lines.append(
            f"{report['held_back']:,} rows are held back: nobody could have learned their labels yet: {report['held_back_labels']}"
        )
    return lines


def _recorded(root: Path, folder: Path, inputs: str, order: Order, *, plan: Pipeline, ledger: Ledger) -> Candidate:
    """Make the commit R, push its data, and put candidate and verdict on the ledger."""
    registry = ledger.registry
    metrics = plan.output("evaluate", "metrics")
    files = {path: (folder / path).read_bytes() for path in (DVC_LOCK, metrics.as_posix())}
    found = {name: read_report(folder / plan.output(stage, name)) for name, stage in REPORTS.items()}
    found["challenge"] = read_report(folder / plan.output("challenge", "report"))
    model_version = str(found["verdict"]["model_version"])
    message = f"model {model_version}: {found['verdict']['summary']}\n\nModel-Version: {model_version}"
    commit = registry.commit(files, message, base=inputs, parents=[inputs])
    push(root, commit)
    data = order.gathered.rows.report if order.gathered else None
    about: dict[str, Any] = {"model_version": model_version, "commit": commit, "who": order.who}
    champion = order.champion and {"version": order.champion.version, "model_version": order.champion.model_version}
    ledger.append(
        "candidate", **about, why=order.why, lands=commit, once=True,
        facts={**order.facts, "champion": champion, "data": data, "inputs": inputs},
    )  # fmt: skip
    ledger.append("verdict", **about, why=found["verdict"]["summary"], once=True, facts=verdict_facts(found))
    return Candidate(inputs, commit, model_version, plan=plan, data=data, **found)


def verdict_facts(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the ledger keeps of a verdict: it, the rules that were not kept, and champion against challenger on new rows."""
    rules = found["verdict"]["rules"]
    return {
        "verdict": found["verdict"]["verdict"],
        "not_kept": [rule["rule"] for rule in rules if rule["outcome"] in {"fail", "missing"}],
        "accuracy": found["metrics"]["accuracy"],
        "difference": (found["challenge"].get("new") or {}).get("difference"),
    }
