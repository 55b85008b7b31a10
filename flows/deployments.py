"""What runs by itself: deployments from prefect.yaml with the schedules of params.yaml, their work pool, and the automations.

One description serves every type of pool: what differs between a process on this machine, a container and a Kubernetes job stands in the
pool's base job template (deploy/prefect). Bringing a server up to date twice changes nothing.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import ConcurrencyLimitConfig, StateType, WorkPool
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import MissingFlowError, ObjectNotFound, ScriptError
from prefect.runner.storage import LocalStorage
from prefect.utilities.templating import apply_values
from prefect.workers.process import ProcessWorker

from evergreen.config import load_params
from evergreen.errors import PipelineError
from flows.automations import retrain_on_alert
from flows.running.prefect_api import mark_of
from flows.schedules import placeholders

FILE = "prefect.yaml"
TEMPLATES = Path("deploy", "prefect")
CRASHED = "Evergreen: a run without a sign of life has crashed"
SILENCE = timedelta(seconds=90)  # three heartbeats of 30 s, the shortest that Prefect allows
ENDINGS = ("Completed", "Failed", "Crashed", "Cancelled", "Cancelling", "Paused")


@dataclass(frozen=True)
class Pool:
    """Where deployments run: None means as prefect.yaml, the server or the project's own template say."""

    name: str | None = None
    kind: str | None = None
    template: Mapping[str, Any] | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)  # of every deployment, beside its own


class Storage(LocalStorage):
    """The project's folder while its flows are read; where it lies when they run is said by the steps of prefect.yaml."""

    def __init__(self, root: Path, steps: list[dict[str, Any]]) -> None:
        super().__init__(str(root))
        self.steps = steps

    def to_pull_step(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """Return the steps of prefect.yaml as they stand there."""
        return self.steps


def described(root: Path) -> list[dict[str, Any]]:
    """Return the deployments of prefect.yaml, each with its pull steps; raise PipelineError where the file cannot be used."""
    try:
        content = yaml.safe_load((root / FILE).read_text(encoding="utf-8"))
        return [_whole({"pull": content["pull"], **item}) for item in content["deployments"]]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as fault:
        raise PipelineError(f"{root / FILE} cannot be read as deployments ({fault}); restore it with `git checkout {FILE}`") from None


def _whole(item: dict[str, Any]) -> dict[str, Any]:
    """Return a deployment with what Prefect lets people leave out; raise KeyError for what it cannot do without."""
    pool = item["work_pool"]
    variables = pool.get("job_variables") or {}
    needed = {name: item[name] for name in ("name", "entrypoint", "pull")}
    left_out: dict[str, Any] = {"tags": [], "parameters": {}, "schedules": []}
    given = {name: item.get(name) or empty for name, empty in left_out.items()}
    pool = {"name": pool["name"], "job_variables": {**variables, "env": variables.get("env") or {}}}
    return {**item, **needed, **given, "description": item.get("description"), "work_pool": pool}


def cron_schedule(name: str, cron: str) -> CronSchedule:
    """Return a cron expression, in UTC, as Prefect takes it; raise PipelineError where it is none."""
    try:
        return CronSchedule(cron=cron, timezone="UTC")
    except ValueError:
        raise PipelineError(f"{name}.schedule in params.yaml is {cron!r}, which is no cron expression such as '0 6 * * *'") from None


async def deploy(root: Path, pool: Pool = Pool()) -> list[str]:
    """Bring pool, deployments and automations of a project up to date on the server; return the deployments' names."""
    plans = [_planned(root, item) for item in described(root)]
    names, retrain = [], None
    async with get_client() as client:
        for item, schedules in plans:
            found = await _ensured(client, root, pool, item["work_pool"]["name"])
            deployment = await _deployment(root, item, schedules, found, pool)
            made = await deployment.aapply()
            retrain = made if item["name"] == "retrain" else retrain
            names.append(f"{deployment.flow_name}/{item['name']}")
        for automation in (crash_watch(), *([retrain_on_alert(retrain)] if retrain else [])):
            await _put(client, automation)
    return names


def _planned(root: Path, item: dict[str, Any]) -> tuple[dict[str, Any], list[DeploymentScheduleCreate]]:
    """Return a deployment's description with its schedules, before anything is changed on the server."""
    values = placeholders(load_params(root / "params.yaml"))
    schedules = [
        DeploymentScheduleCreate(schedule=cron_schedule(item["name"], entry["cron"]), active=entry["active"])
        for entry in apply_values(item["schedules"], values)
    ]
    return item, schedules


async def _deployment(
    root: Path, item: dict[str, Any], schedules: list[DeploymentScheduleCreate], pool: WorkPool, asked: Pool
) -> RunnerDeployment:
    try:
        return await RunnerDeployment.afrom_storage(
            storage=Storage(root, item["pull"]),
            entrypoint=item["entrypoint"],
            name=item["name"],
            description=item["description"],
            tags=[*item["tags"], *_mark()],
            parameters=item["parameters"],
            schedules=schedules,
            concurrency_limit=ConcurrencyLimitConfig(**limit) if (limit := item.get("concurrency_limit")) else None,
            work_pool_name=pool.name,
            job_variables=_merged(item["work_pool"]["job_variables"], asked.variables),
        )
    except (OSError, MissingFlowError, ScriptError) as fault:
        raise PipelineError(f"the flow {item['entrypoint']} of {FILE} cannot be loaded from {root}: {fault}") from None


def _mark() -> list[str]:
    """Return the tag of the project that `evergreen up` runs; deployments made from elsewhere belong to nobody's folder."""
    return [mark_of(os.environ["EVERGREEN_PROJECT"])] if os.environ.get("EVERGREEN_PROJECT") else []


def _merged(own: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a deployment's job variables with those asked for; an environment is added to, not replaced."""
    environment = {**own["env"], **given["env"]} if isinstance(given.get("env"), dict) else own["env"]
    return {**own, **given, "env": environment}


async def _ensured(client: PrefectClient, root: Path, asked: Pool, default: str) -> WorkPool:
    """Return the work pool, made where it is missing; one of ours has the base job template of its type."""
    name = asked.name or default
    try:
        pool = await client.read_work_pool(name)
    except ObjectNotFound:
        kind = asked.kind or "process"
        own = {"process": ProcessWorker.get_default_base_job_template()}
        first = _template(root, asked, kind) or own.get(kind, {})
        pool = await client.create_work_pool(WorkPoolCreate(name=name, type=kind, base_job_template=first))
    if asked.kind and pool.type != asked.kind:
        raise PipelineError(f"the work pool {name} is of type {pool.type}, not {asked.kind}; name another with --pool, or leave out --type")
    template = _template(root, asked, pool.type)
    if template and template != pool.base_job_template:
        await client.update_work_pool(name, WorkPoolUpdate(base_job_template=template))
        pool = await client.read_work_pool(name)
    known = pool.base_job_template.get("variables", {}).get("properties", {})
    if known and (strange := {name.partition(".")[0] for name in asked.variables} - known.keys()):
        raise PipelineError(f"the work pool {name} has no job variable {', '.join(sorted(strange))}; it has: {', '.join(sorted(known))}")
    return pool


def _template(root: Path, asked: Pool, kind: str) -> dict[str, Any] | None:
    if asked.template is not None:
        return dict(asked.template)
    file = root / TEMPLATES / f"{kind}.json"
    return read_template(file) if file.is_file() else None


def crash_watch() -> AutomationCore:
    """Return the automation that marks a run as crashed when its heartbeat stops: a killed worker cannot say so itself."""
    return AutomationCore(
        name=CRASHED,
        description="Frees the slot of a run whose process was killed.",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{ending}" for ending in ENDINGS)},
            match={"prefect.resource.id": ["prefect.flow-run.*"]},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=SILENCE,
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message="No sign of life: its process, or its worker, was killed.")],
    )


async def _put(client: PrefectClient, automation: AutomationCore) -> None:
    """Write an automation, in the place of one of the same name."""
    there = await client.read_automations_by_name(automation.name)
    if there:
        await client.update_automation(there[0].id, automation)
    else:
        await client.create_automation(automation)


def read_template(file: Path) -> dict[str, Any]:
    """Return a base job template; raise PipelineError where the file is none."""
    try:
        template = json.loads(file.read_text(encoding="utf-8"))
        if {"job_configuration", "variables"} <= template.keys():
            return dict(template)
        fault = "it needs the keys job_configuration and variables"
    except (OSError, ValueError, AttributeError) as wrong:
        fault = str(wrong)
    raise PipelineError(f"{file} is no base job template: {fault}; see those in deploy/prefect") from None
