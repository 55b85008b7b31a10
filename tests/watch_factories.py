"""A project whose tiny model is live and has a reference, and traffic that it has answered: what the monitor looks at."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import Engine

from evergreen.data.records import group_columns
from evergreen.drift.calibration import calibrate
from evergreen.drift.reference import keep, reference_summary, reference_table
from evergreen.drift.rows import Vocabulary
from evergreen.drift.rows import look as see
from evergreen.drift.words import counts
from evergreen.model.inference import Classifier
from evergreen.monitoring.log import database, request_log
from evergreen.monitoring.log.records import Answered, Labelled, new_id
from evergreen.monitoring.loop import loop_tables
from evergreen.monitoring.watch import history
from evergreen.release.live import Live, Place, Release
from flows.looking.look import Look, look
from tests.factories import examples, tiny_artifact, tiny_calibration
from tests.log_factories import sqlite

ROOT = Path(__file__).parent.parent
START = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
DAY = 86_400.0
TEST_ROWS = 300


@dataclass(frozen=True)
class Watched:
    """The project's folder, the state, the live model, and its request log."""

    root: Path
    home: Path
    model: Classifier
    url: str

    def look(self, day: float, **asked: Any) -> Look:
        """Look at the traffic so many days after the model went live."""
        return look(self.root, home=self.home, url=self.url, now=START + day * DAY, **{"evidently": False, "say": lambda _: None, **asked})

    def answer(self, table: pd.DataFrame, *, days: tuple[float, float], labelled: float = 0.0) -> None:
        """Let the model answer the texts of a table, evenly spread over these days; tell the labels of a share of them, the first ones."""
        with self.engine() as engine:
            request_log.insert(engine, traffic(self.model, table, START + days[0] * DAY, START + days[1] * DAY, labelled))

    @contextmanager
    def engine(self) -> Iterator[Engine]:
        engine = database.connect(self.url)
        for tables in (request_log, history, loop_tables):
            tables.prepare(engine)
        try:
            yield engine
        finally:
            engine.dispose()


def traffic(model: Classifier, table: pd.DataFrame, start: float, end: float, labelled: float) -> list[Answered | Labelled]:
    """What a service with this model would have recorded; of every 10 rows the first 10 x labelled have a label."""
    rows: list[Answered | Labelled] = []
    groups = [name for name in table.columns if name.startswith("group_")]
    for place, (row, chances) in enumerate(zip(table.to_dict("records"), model.probabilities(table["text"].tolist()), strict=True)):
        time = start + (end - start) * place / len(table)
        best = int(chances.argmax())
        row_id = new_id(time)
        rows.append(
            Answered(
                request_id=row_id,
                role="champion",
                time=time,
                key_id="",
                model_version=model.version,
                text=row["text"],
                prediction=model.labels[best],
                probabilities=dict(zip(model.labels, map(float, chances), strict=True)),
                confidence=float(chances[best]),
                needs_person=bool(chances[best] < model.calibration.threshold),
                latency_ms=1.0,
                groups={name.removeprefix("group_"): row[name] for name in groups},
            )
        )
        if place % 10 < 10 * labelled:
            rows.append(Labelled(new_id(time), row_id, row["label"], time, ""))
    return rows


def watched(folder: Path, url: str | None = None) -> Watched:
    """Make the project with its tiny model live since START."""
    root, home = folder / "project", folder / "home"
    root.mkdir(parents=True)
    shutil.copy(ROOT / "params.yaml", root / "params.yaml")
    calibration = tiny_calibration(folder / "calibration.json")
    artifact = tiny_artifact(folder / "artifact")
    model = Classifier.load(artifact, calibration)
    _reference(model, home / "monitor" / "references" / model.version)
    release = Release(f"{model.version}-0000", model.version, "0" * 64)
    place = Place(home)
    place.write(Live(1, release, None, None, datetime.fromtimestamp(START, UTC).isoformat()))
    inside = place.bento(release) / "src"
    shutil.copytree(artifact, inside / "artifact")
    shutil.copy(calibration, inside / "calibration.json")
    return Watched(root, home, model, url or sqlite(folder))


def _reference(model: Classifier, target: Path) -> None:
    """Make the reference from test rows as the snapshot stage does, without Evidently's page."""
    test, texts = examples(TEST_ROWS, seed=4), examples(300, seed=1)["text"].tolist()
    chances = model.probabilities(test["text"].tolist())
    found = [model.labels[best] for best in chances.argmax(axis=1)]
    predictions = test.assign(prediction=found, confidence=chances.max(axis=1), probabilities=list(chances))
    known, own = Vocabulary(counts(texts), len(texts)), Vocabulary(counts(test["text"].tolist()), len(test))
    seen = see(test, model, known, group_columns(test))
    table = reference_table(predictions, seen)
    summary = reference_summary(table, list(seen.descriptors), labels=model.labels, model_version=model.version)
    target.parent.mkdir(parents=True)
    keep(target, table, summary, known, own, calibrate(seen, model.labels, seed=1))


def quiet(rows: int, seed: int) -> pd.DataFrame:
    """Traffic like the reference."""
    return examples(rows, seed=seed)


def shifted(rows: int, seed: int) -> pd.DataFrame:
    """Traffic about one thing alone, in other words."""
    table = examples(rows, labels=("fraud",), seed=seed)
    return table.assign(text=table["text"] + " quantum wallet token")
