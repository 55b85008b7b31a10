"""What runs by itself: deployments from prefect.yaml with the schedules of params.yaml, their work pool, and the automations.

`python -m flows.deployments` brings a server up to date; doing so twice changes nothing.
"""

import argparse
import asyncio
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyLimitConfig, StateType
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectAlreadyExists
from prefect.runner.storage import LocalStorage

from evergreen.config import Params, load_params
from evergreen.errors import PipelineError
from flows.automations import retrain_on_alert

FILE = "prefect.yaml"
CRASHED = "Evergreen: a run without a sign of life has crashed"
SILENCE = timedelta(seconds=90)  # three heartbeats of 30 s, the shortest that Prefect allows
ENDINGS = ("Completed", "Failed", "Crashed", "Cancelled", "Cancelling", "Paused")


def described(root: Path) -> list[dict[str, Any]]:
    """Return the deployments of prefect.yaml; raise PipelineError where the file cannot be used."""
    try:
        content = yaml.safe_load((root / FILE).read_text(encoding="utf-8"))
        return list(content["deployments"])
    except (OSError, yaml.YAMLError, KeyError, TypeError) as fault:
        raise PipelineError(f"{root / FILE} cannot be read as deployments ({fault}); restore it with `git checkout {FILE}`") from None


def schedules(params: Params) -> dict[str, str | None]:
    """Return each deployment's cron expression, None for none."""
    return {"monitor": params.monitor.schedule, "retrain": params.retrain.schedule}


def cron_schedule(name: str, cron: str) -> CronSchedule:
    """Return a cron expression, in UTC, as Prefect takes it; raise PipelineError where it is none."""
    try:
        return CronSchedule(cron=cron, timezone="UTC")
    except ValueError:
        raise PipelineError(f"{name}.schedule in params.yaml is {cron!r}, which is no cron expression such as '0 6 * * *'") from None


async def deploy(root: Path, *, pool_type: str = "process") -> list[str]:
    """Bring pool, deployments and automations of a project up to date on the server; return the deployments' names."""
    params = load_params(root / "params.yaml")
    crons = schedules(params)
    names, retrain = [], None
    async with get_client() as client:
        for item in described(root):
            await _ensure_pool(client, item["work_pool"]["name"], pool_type)
            deployment = await RunnerDeployment.afrom_storage(
                storage=LocalStorage(str(root)),
                entrypoint=item["entrypoint"],
                name=item["name"],
                description=item["description"],
                tags=item["tags"],
                parameters={"root": str(root)},
                schedules=[cron_schedule(item["name"], cron)] if (cron := crons.get(item["name"])) else [],
                concurrency_limit=ConcurrencyLimitConfig(**item["concurrency_limit"]),
                work_pool_name=item["work_pool"]["name"],
            )
            made = await deployment.aapply()
            retrain = made if item["name"] == "retrain" else retrain
            names.append(f"{deployment.flow_name}/{item['name']}")
        for automation in (crash_watch(), *([retrain_on_alert(retrain)] if retrain else [])):
            await _put(client, automation)
    return names


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


async def _ensure_pool(client: PrefectClient, name: str, kind: str) -> None:
    try:
        await client.create_work_pool(WorkPoolCreate(name=name, type=kind))
    except ObjectAlreadyExists:
        return


async def _put(client: PrefectClient, automation: AutomationCore) -> None:
    """Write an automation, in the place of one of the same name."""
    there = await client.read_automations_by_name(automation.name)
    if there:
        await client.update_automation(there[0].id, automation)
    else:
        await client.create_automation(automation)


def main() -> None:
    """Bring the server that PREFECT_API_URL names up to date."""
    parser = argparse.ArgumentParser(prog="python -m flows.deployments")
    parser.add_argument("--root", type=Path, default=Path.cwd())
    given = parser.parse_args()
    try:
        names = asyncio.run(deploy(given.root.resolve()))
    except PipelineError as fault:
        print(fault, file=sys.stderr)
        sys.exit(1)
    print("\n".join(names))


if __name__ == "__main__":
    main()
