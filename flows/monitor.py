"""The monitor: one look at live traffic as a Prefect flow, each part of it a task, what it came to in Prefect's pages.

What a look is stands in flows/looking/look.py, and works without Prefect.
"""

from pathlib import Path

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows import HOME
from flows.looking import trouble
from flows.looking.look import Look, look
from flows.looking.words import markdown, sentence
from flows.tasks import as_task


@flow(name="monitor", log_prints=False)
def monitor(root: Path, since: float | None = None, until: float | None = None) -> State[str]:
    """Look at the next window of the live version's traffic, or the one between two times (seconds since 1970), and decide."""
    root = root.resolve()  # deployments say ".", wherever they run
    with trouble.told(root, HOME, say=get_run_logger().info):
        found = look(root, home=HOME, since=since, until=until, step=as_task, say=get_run_logger().info)
    _show(found)
    named = "Waiting" if found.waiting else "Completed"
    return Completed(name=named, message=sentence(found), data=sentence(found))


def _show(found: Look) -> None:
    """Leave what was found where Prefect shows it: one page for every window, under the same key, so that they stand in a row."""
    create_markdown_artifact(markdown(found), key="monitor", description=sentence(found))
