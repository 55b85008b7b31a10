"""The loop around stand-in stages, tried without Prefect: a first version, traffic with its labels, the version after it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from evergreen.config import load_params
from evergreen.monitoring.log import database, request_log
from evergreen.monitoring.loop import loop_tables
from evergreen.release.ledger import Ledger
from evergreen.release.live import Place, Release, first
from evergreen.release.registry import Registry
from flows.bridge import objects, remote, workspace
from flows.making import champion, keepsakes, retraining
from flows.making.champion import champion_of
from flows.making.inputs import gathered
from flows.making.produce import Candidate, Order, produce
from flows.releasing import settle as settling
from flows.steps import plainly
from tests.factories import LABELS
from tests.log_factories import answered, labelled
from tests.loop_factories import loop_project, quickly
from tests.project_factories import git

NOW = 1_760_000_000.0  # 2025-10-09
NUMBERS = count()  # no two texts are alike


def settle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have all state lie in a folder; return its home."""
    place = folder / "home"
    place.mkdir(exist_ok=True)
    monkeypatch.setenv("EVERGREEN_HOME", str(place))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(folder / "site"))
    monkeypatch.delenv("EVERGREEN_LOG_URL", raising=False)
    for module in (objects, workspace, remote, champion, settling):
        monkeypatch.setattr(module, "HOME", place)
    monkeypatch.setattr(workspace, "WORKTREES", place / "worktrees")
    monkeypatch.setattr(keepsakes, "CANDIDATES", place / "candidates")
    monkeypatch.setattr(settling, "STATE", place / "release")
    for module, name in ((retraining, "ledger_of"), (settling, "opened")):
        monkeypatch.setattr(module, name, lambda root: Ledger(Registry(root)))
    return place


def begin(folder: Path, **changes: Any) -> Candidate:
    """Make a project in `folder/project` whose first version is live."""
    project = loop_project(folder / "project", **changes)
    candidate = make(project)
    go_live(project, candidate)
    return candidate


@contextmanager
def told(home: Path, rows: int = 40) -> Iterator[Engine]:
    """Answer so many texts, tell their labels, and give the database of the loop."""
    engine = database.connect(f"sqlite:///{home / 'traffic.sqlite'}")
    request_log.prepare(engine)
    loop_tables.prepare(engine)
    given = [
        answered(f"{LABELS[row % 4]} again, number {next(NUMBERS)}", time=NOW + 3600 * row, groups={"age_band": "60+"})
        for row in range(rows)
    ]
    request_log.insert(engine, [*given, *(labelled(row.request_id, LABELS[place % 4]) for place, row in enumerate(given))])
    try:
        yield engine
    finally:
        engine.dispose()


def make(project: Path, *, say: Callable[[str], None] = lambda _: None, **fields: Any) -> Candidate:
    """Produce a version from the newest commit of main: a first one, where `champion` is not given."""
    given = {
        "code": git(project, "rev-parse", "main").strip(),
        "who": "a test",
        "why": "it was asked for",
        "champion": None,
        "gathered": None,
    }
    return produce(project, Order(**{**given, **fields}), ledger=Ledger(Registry(project)), step=plainly, run=quickly, say=say)


def follow(project: Path, home: Path, **fields: Any) -> Candidate:
    """Produce the version after the live one, with 40 more answers told."""
    live = champion_of(project)
    assert live is not None
    with told(home) as engine:
        rows = gathered(project, live, params=load_params(project / "params.yaml"), engine=engine)
    return make(project, champion=live, gathered=rows, **fields)


def go_live(project: Path, candidate: Candidate) -> None:
    """Have the registry say that a candidate is live."""
    registry = Registry(project)
    registry.assign(registry.register(candidate.commit, model_version=candidate.model_version))


def pointed_at(home: Path, version: str) -> None:
    """Have the service's pointer say that this model is live."""
    place = Place(home)
    place.folder.mkdir(parents=True, exist_ok=True)
    place.write(first(Release("x", version, "0" * 64)))
