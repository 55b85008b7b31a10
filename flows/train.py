"""The straight flow: every stage of dvc.yaml as a task of one run, each through `dvc repro`, in dvc.yaml's order."""

from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from evergreen.reports import read_report
from flows.bridge.pipeline import Pipeline, read_pipeline
from flows.pages import number, read_on, rules
from flows.tasks import reproduce


@flow(name="train", log_prints=False)
def train(root: Path, force: bool = False) -> dict[str, str]:
    """Reproduce every stage of the pipeline in `root`; return what became of each: "ran", "restored" or "unchanged".

    The first stage that fails ends the run with the stage's own words. `force` runs stages that have not changed, too.
    """
    plan = read_pipeline(root)
    outcomes = {stage: str(reproduce(root, stage, force=force)) for stage in plan.order}
    if "gate" in plan.order:
        _show(root, plan)
    return outcomes


def _show(root: Path, plan: Pipeline) -> None:
    """Leave figures, verdict and places where Prefect shows them."""
    verdict, metrics = (read_report(root / plan.output(*place)) for place in (("gate", "verdict"), ("evaluate", "metrics")))
    lines = [f"# {verdict['summary']}", "", f"On {metrics['rows']:,} texts it has never seen:", ""]
    lines += ["| | model | interval | TF-IDF |", "|---|---|---|---|"]
    for name, title in (("accuracy", "accuracy"), ("macro_f1", "macro F1")):
        found = metrics[name]
        figures = (number(found["value"]), f"{number(found['low'])} to {number(found['high'])}", number(metrics["baseline"][name]["value"]))
        lines.append(f"| {title} | {' | '.join(figures)} |")
    places = {"dossier": ("document", "dossier"), "model card": ("document", "card"), "Evidently": ("snapshot", "page")}
    lines += ["", *read_on({title: (root / plan.output(*place)).resolve() for title, place in places.items()})]
    create_markdown_artifact("\n".join(lines), key="training", description=verdict["summary"])
    create_table_artifact(rules(verdict), key="verdict", description=verdict["summary"])
