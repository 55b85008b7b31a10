"""The steps that flows are made of, as Prefect tasks."""

from collections.abc import Callable
from pathlib import Path

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.bridge import pipeline
from flows.steps import T


def as_task(name: str, work: Callable[[], T]) -> T:
    """Run a part as a task of the flow run."""
    done: T = task(name=name, task_run_name=name, cache_policy=NO_CACHE, persist_result=False)(work)()
    return done


@task(name="reproduce", task_run_name="{stage}")
def reproduce(root: Path, stage: str, *, force: bool = False) -> State[str]:
    """Reproduce one stage; its output goes to the run's log, and a stage that did not need to run ends as "Cached"."""
    logger = get_run_logger()
    outcome = pipeline.reproduce(root, stage, say=logger.info, force=force)
    if outcome == "ran":
        return Completed(message="ran", data=outcome)
    words = {"unchanged": "nothing it depends on has changed", "restored": "restored from an earlier run"}[outcome]
    logger.info(f"  cached: {words}")
    return Completed(name="Cached", message=words, data=outcome)
