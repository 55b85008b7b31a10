"""What a look leaves for people, under EVERGREEN_HOME/monitor: where each file lies, and when it is written.

index.html          how the live version fares, made anew after every look
batches/ID.csv      texts worth a label, after an alarm
reports/ID.html     Evidently's report of a window
evidently/          Evidently's workspace: `evergreen monitor dashboard`
"""

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evergreen.config import Params

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from evergreen.drift.reference import Reference
    from evergreen.monitoring.watch.judging import Judgement

FOLDER = "monitor"
SHOWN = 400  # windows on the page, at most
KEPT = 30  # of Evidently's pages, the newest: each has megabytes; its workspace keeps every window in kilobytes


def workspace(home: Path) -> Path:
    """Return the folder of Evidently's workspace."""
    return home / FOLDER / "evidently"


def copies(home: Path) -> Path:
    """Return the folder of what was seen of the newest windows."""
    return home / FOLDER / "seen"


def placed(home: Path, params: Params, judgement: "Judgement", reference: "Reference", *, report: bool) -> "Judgement":
    """Write the batch worth labelling where there is an alarm, and return the judgement with the places of batch and report."""
    from evergreen.monitoring.watch.judging import worth_labelling
    from evergreen.monitoring.watch.labelling import write_batch

    facts = {**judgement.facts, "report": f"reports/{judgement.facts['id']}.html" if report else None}
    if facts["drift"]["alarm"]:
        rows = worth_labelling(judgement, reference, most=params.monitor.batch, seed=params.monitor.seed)
        if len(rows):
            facts["batch"] = f"batches/{facts['id']}.csv"
            write_batch(rows, home / FOLDER / facts["batch"])
    return replace(judgement, facts=facts)


def draw(engine: "Engine", home: Path, params: Params, *, waiting: str | None, now: float) -> Path:
    """Write index.html, all of it or nothing, and return its path."""
    from evergreen.monitoring.watch import history, window
    from evergreen.monitoring.watch.page import watch_page

    _retire(home, params)
    windows, decisions = [_linked(home, one) for one in history.read(engine, last=SHOWN)], history.read_decisions(engine, last=SHOWN)
    rows = (windows[-1]["explanation"] or {}).get("rows", []) if windows else []
    path = home / FOLDER / "index.html"
    texts, about = window.texts(engine, rows), params.document.model_dump()
    page = watch_page(windows, decisions, about=about, texts=texts, folder=str(path.parent), waiting=waiting, now=now)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(".index.html.partial")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(page)
    beside.replace(path)
    return path


def _retire(home: Path, params: Params) -> None:
    """Remove batches that are older than the request log keeps their texts."""
    horizon = time.time() - params.serve.log.keep_days * 86_400
    for batch in (home / FOLDER / "batches").glob("*.csv"):
        if batch.stat().st_mtime < horizon:
            batch.unlink(missing_ok=True)


def _linked(home: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Return facts whose files are there, and None in the place of those that are not."""
    return {
        **facts,
        **{name: facts[name] if facts[name] and (home / FOLDER / facts[name]).is_file() else None for name in ("report", "batch")},
    }


def report(home: Path, params: Params, judgement: "Judgement", reference: "Reference") -> Path:
    """Let Evidently report on a window: a page of its own, and a run in the workspace."""
    from evergreen.monitoring.watch.evidently_watch import keep_run, window_report, write_page
    from evergreen.monitoring.watch.facts import columns

    facts = judgement.facts
    found = window_report(facts, columns(judgement.seen, reference), columns(reference.rows, reference))
    path = home / FOLDER / str(facts["report"])
    write_page(found, path)
    keep_run(found, workspace(home), params.document.name)
    pages = sorted(path.parent.glob("*.html"), key=lambda page: page.stat().st_mtime)
    for old in pages[:-KEPT]:
        old.unlink(missing_ok=True)
    return path
