"""A released version, rebuilt from its record alone, and every output compared with it.

A fresh worktree at the commit that the version was made from, raw data from the remote into a cache of its own, every stage forced. Times
that a run measures cannot come out twice: those are taken from the record, so that everything made from them can be compared.
Knows nothing of what a stage does.
"""

from collections.abc import Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact

from evergreen.errors import PipelineError
from evergreen.release.ledger import Ledger
from evergreen.release.registry import Registry, Version
from evergreen.release.reproduction import Comparison, compared, differing
from evergreen.release.vouching import vouched
from evergreen.reports import read_report
from flows import tasks
from flows.bridge import DVC_LOCK
from flows.bridge.objects import FOLDER, Objects, Output, digest, matches, opened, outputs_of, recorded
from flows.bridge.pipeline import Pipeline, environment, read_pipeline
from flows.bridge.session import session
from flows.bridge.workspace import workspace
from flows.releasing.ledger import trusted_keys
from flows.releasing.settle import commit_untold

OWN_CACHE = Path(".dvc/cache")  # in the worktree: nothing that an earlier run has made is at hand
MEASURED = {("compress", "latency")}  # outputs that hold measured times, by stage and name; each stage's own record is one too


@flow(name="reproduce", flow_run_name="{version}")
def reproduce(root: Path, version: str) -> Comparison:
    """Rebuild a version; return the comparison. Raises RegistryError or PipelineError where its record cannot be believed or had."""
    registry = Registry(root)
    found = registry.find(version)
    notes = vouched(registry, found, trusted_keys(), partial(commit_untold, Ledger(registry)))
    lock = registry.read(DVC_LOCK, found.commit) or b""
    record = {out.path: out for out in recorded(lock)}
    if not record:
        raise PipelineError(f"{found.name} (commit {found.commit[:12]}) records no outputs: it was not made by the pipeline")
    with workspace(root, found.commit, purpose="reproduce", cache=OWN_CACHE) as folder, opened(folder) as objects:
        plan = read_pipeline(folder)
        measured = _measured(plan)
        _record_is_whole(registry, objects, found, record)
        origin = _report(objects, record, plan.output("document", "provenance"))["code"]
        _go_back(registry, found, origin["commit"], folder)
        _inputs_are_as_recorded(objects, folder, lock, found)
        notes += [f"{found.name} was made from changes that nobody had committed, and says so"] if origin["dirty"] else []
        rebuilt = _rebuild(objects, folder, record, measured)
        training = plan.output("finetune", "report")
        tuples = [report.get("tuple") or {} for report in (_report(objects, record, training), read_report(folder / training))]
    rows = compared({path: (out.stage, out.oid) for path, out in record.items()}, rebuilt, measured=measured)
    done = Comparison(found.name, found.model_version, found.commit, rows, differing(*tuples), notes)
    table = [{"stage": row.stage, "output": row.path, "record": row.recorded, "rebuilt": row.rebuilt, "is": row.outcome} for row in rows]
    create_table_artifact(key="reproduced", table=table, description=done.words())
    return done


def _record_is_whole(registry: Registry, objects: Objects, version: Version, record: Mapping[str, Output]) -> None:
    """Hash every output on record, in the remote or in git; a missing or changed one is named before anything runs."""
    for out in record.values():
        committed = registry.read(out.path, version.commit)
        if committed is None:
            objects.check(out.oid, out.path)
        elif digest(BytesIO(committed)) != out.oid:
            raise PipelineError(f"{out.path} in commit {version.commit[:12]} is not what its dvc.lock records; do not believe this record")


def _measured(plan: Pipeline) -> set[str]:
    named = {plan.output(stage, name) for stage, name in MEASURED}
    return {path.as_posix() for path in (*plan.records.values(), *named)}


def _report(objects: Objects, record: Mapping[str, Output], path: Path) -> dict[str, Any]:
    """Read a report as the record has it."""
    out = record[path.as_posix()]
    return read_report(objects.ensure(out.oid, out.path))


def _go_back(registry: Registry, version: Version, commit: str, folder: Path) -> None:
    """Check out the commit that the version was made from; its own holds the results."""
    if registry.git.commit_of(commit) is None or not registry.git.is_ancestor(commit, version.commit):
        raise PipelineError(
            f"{version.name} says that it was made from commit {commit[:12]}, which is not in its history: "
            f"fetch that commit, or do not believe this record"
        )
    Registry(folder).git.run("checkout", "--quiet", "--detach", commit)


def _inputs_are_as_recorded(objects: Objects, folder: Path, lock: bytes, version: Version) -> None:
    """Refuse a record whose code, settings or data are not those of its commit, before hours are spent on it."""
    data = {out.path: out for stage in read_pipeline(folder).order if stage.endswith(".dvc") for out in outputs_of(folder, stage)}
    for out in data.values():
        objects.check(out.oid, out.path)
    made = {out.path for out in recorded(lock)}
    for used in recorded(lock, "deps"):
        if used.path in made or any(used.path.startswith(f"{path}/") for path in (*made, *data)):
            continue
        kept = data.get(used.path)
        if kept is None and used.oid.endswith(FOLDER):
            continue  # a folder in git: its files are told by what is made of them
        if kept.oid != used.oid if kept else not matches(folder / used.path, used.oid):
            what = "another than that of its commit" if kept or (folder / used.path).exists() else "not in its commit"
            raise PipelineError(f"{version.name} was made with a {used.path} that is {what}, nor did DVC keep it; it cannot be rebuilt")


def _rebuild(objects: Objects, folder: Path, record: Mapping[str, Output], measured: set[str]) -> dict[str, str]:
    """Force every stage, in order; return the hash of each output by its path."""
    log, rebuilt = get_run_logger(), {}
    with session(folder, environment(folder)):
        for stage in read_pipeline(folder).order:
            tasks.reproduce(folder, stage, force=not stage.endswith(".dvc"))
            for out in outputs_of(folder, stage):
                rebuilt[out.path] = out.oid
                if out.path in measured and out.path in record:
                    objects.lay(record[out.path].oid, out.path, folder / out.path)
                elif out.path in record and record[out.path].oid != out.oid:
                    log.warning(f"  {out.path} is not what was recorded")
    return rebuilt
