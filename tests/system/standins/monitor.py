"""Stands in for flows/monitor.py: the same look, its records and its alert, at a window whose facts are made up: it has drifted.

No reference, no labels and no page: there is no model behind the facts.
"""

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from prefect import flow, get_run_logger
from prefect.states import Completed, State

from evergreen.monitoring.watch import history
from flows import HOME
from flows.looking import look

NOTES = HOME / "chaos"
REFERENCE = "aa" * 8
PAUSE = 1.0  # seconds that each part takes, so that a kill may find any of them


@flow(name="monitor", log_prints=False)
def monitor(root: Path) -> State[str]:
    """Look once."""
    (NOTES / f"monitor.{os.getpid()}").write_text("")
    look._judge = judged
    look.whose.reference_of = lambda *_: SimpleNamespace(digest=REFERENCE, trained_until=None)
    look.look_pages.draw = lambda *_, **__: None
    look.unseen = lambda *_, **__: None
    found = look.look(root, home=HOME, step=slowly, say=get_run_logger().info)
    return Completed(message=found.decision.because if found.decision else "nothing to decide")


def slowly(name: str, work: Any) -> Any:
    """Do a part of the look, and take a while before and after."""
    time.sleep(PAUSE)
    done = work()
    time.sleep(PAUSE)
    return done


def judged(engine: Any, asked: Any, version: Any, reference: Any, step: Any) -> tuple[dict[str, Any], None, None]:
    """Return the facts of the next window, on record: drifted, and costly by estimate."""
    about = {"model_version": version.model_version, "reference": REFERENCE}
    last = history.judged(engine, **about)
    since, until, number = (last.until if last else version.since), asked.now, (last.number + 1 if last else 1)
    facts = {
        **about,
        "id": history.window_id(**about, since=since, until=until),
        "since": since,
        "until": until,
        "number": number,
        "rows": 100,
        "labelled": 0,
        "drift": {"alarm": True, "level": 0.001, "p_value": 0.0001, "tests": []},
        "quality": None,
        "estimate": {"loss": {"value": 0.1, "low": 0.08, "high": 0.12}},
    }
    return step("record", lambda: history.record(engine, facts, now=asked.now)), None, None
