"""The straight flow: every stage of dvc.yaml as a task of one run, each through `dvc repro`, in dvc.yaml's order."""

from pathlib import Path

from prefect import flow

from flows.bridge.pipeline import read_pipeline
from flows.tasks import reproduce


@flow(name="train", log_prints=False)
def train(root: Path, force: bool = False) -> dict[str, str]:
    """Reproduce every stage of the pipeline in `root`; return what became of each: "ran", "restored" or "unchanged".

    The first stage that fails ends the run with the stage's own words. `force` runs stages that have not changed, too.
    """
    return {stage: reproduce(root, stage, force=force) for stage in read_pipeline(root).order}
