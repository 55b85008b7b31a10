"""Evidently's view of a window: a page of its own, and a run in Evidently's workspace, whose dashboard shows figures over time.

Everything is computed before: Evidently gets our tests and figures through metrics of its kind, and shows each column with the method
that we name. Importing Evidently takes seconds, so this comes last of a look. Offline; knows nothing of logs and decisions.
"""

import json
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.core.metric_types import SingleValue, SingleValueCalculation, SingleValueMetric
from evidently.core.report import Context, Snapshot
from evidently.legacy.renderers.html_widgets import CounterData, counter, table_data, text_widget
from evidently.presets import DataDriftPreset
from evidently.sdk.models import PanelMetric
from evidently.sdk.panels import line_plot_panel
from evidently.ui.workspace import Workspace

from evergreen.evaluation.evidently_html import html

Facts = Mapping[str, Any]
READING = (
    "*Current* is the window of live traffic, *reference* the rows of the snapshot, which the model had not learnt from. The alarm is that "
    "of the first table: one verdict for all detectors, at a level that a year of quiet windows shares. Evidently's own distances of each "
    "column, below it, raise no alarm by themselves."
)
NUMBER_METHOD, CATEGORY_METHOD = "wasserstein", "jensenshannon"
HARMLESS = "‹"  # for "<" in what callers told: a report downloaded from the workspace is written by Evidently, which does not escape it
LEAST_P = 1e-6  # below it a p-value is drawn as this
COLUMN_LEVEL = 0.1  # of Evidently's distances, its own default
PANELS = (  # what the dashboard shows: title, size, and figures with their names
    ("Drift: -log10 of the window's p-value", {"drift": "window", "drift that alarms": "an alarm from here on"}),
    (
        "Accuracy",
        {"accuracy, measured": "measured by late labels", "accuracy, estimated": "estimated", "accuracy, snapshot": "at the snapshot"},
    ),
    ("Words unknown to training", {"unknown words": "share of words"}),
    ("Answers", {"answers": "answers", "labelled": "labelled"}),
)


class WindowFigure(SingleValueMetric):  # type: ignore[misc]
    """One figure of a window, by name; its value stands in the column of that name."""

    class Config:
        """How Evidently names it in what it writes."""

        type_alias = "evidently:metric_v2:WindowFigure"

    figure: str


class WindowFigureCalculation(SingleValueCalculation[WindowFigure]):  # type: ignore[misc]
    """Takes the figure from the data set, where it stands in every row."""

    def calculate(self, context: Context, current_data: Dataset, reference_data: Dataset | None) -> SingleValue:
        """Return the figure."""
        value = float(current_data.as_dataframe()[self.metric.figure].iloc[0])
        result = self.result(value)
        shown = f"{value:,.0f}" if value.is_integer() else f"{value:.3g}"
        result.widget = [counter(title=self.metric.figure, counters=[CounterData("", shown)])]
        return result

    def display_name(self) -> str:
        """Return the figure's name."""
        return str(self.metric.figure)


class WindowFacts(SingleValueMetric):  # type: ignore[misc]
    """How many drift tests of a window alarm; the widget lists them all. `facts` are the window's, as JSON."""

    class Config:
        """How Evidently names it in what it writes."""

        type_alias = "evidently:metric_v2:WindowFacts"

    facts: str


class WindowFactsCalculation(SingleValueCalculation[WindowFacts]):  # type: ignore[misc]
    """Shows tests that were made before; the data sets given are not looked at."""

    def calculate(self, context: Context, current_data: Dataset, reference_data: Dataset | None) -> SingleValue:
        """Return the number of alarms, with the list of tests, the quality by class and group, and what explains the change."""
        facts = json.loads(self.metric.facts)
        tests = facts["drift"]["tests"]
        result = self.result(sum(test["alarm"] for test in tests))
        said = "Alarm" if facts["drift"]["alarm"] else "Not tested" if facts["drift"]["p_value"] is None else "No alarm"
        head = ("What", "Kind", "Method", "Statistic", "p-value", "Alarm", "Where")
        result.widget = [
            text_widget(title="How to read this page", text=READING),
            table_data(title=f"{said}: drift tests, p-values adjusted", column_names=head, data=[_test(test) for test in tests]),
            *_quality(facts["quality"]),
            *_words(facts["explanation"]),
        ]
        return result

    def display_name(self) -> str:
        """Return the metric's title."""
        return "Drift tests that alarm"


def window_report(facts: Facts, now: pd.DataFrame, before: pd.DataFrame) -> Snapshot:
    """Return Evidently's report of a window; both tables hold the same columns of numbers and names, one line per row."""
    columns = [str(name) for name in now.columns if now[name].notna().any() and before[name].notna().any()]
    numbers = [name for name in columns if pd.api.types.is_numeric_dtype(now[name])]
    names = [name for name in columns if name not in numbers]
    figures = figures_of(facts)
    definition = DataDefinition(numerical_columns=[*numbers, *figures], categorical_columns=names)
    sets = [
        Dataset.from_pandas(_inert(table[columns].reset_index(drop=True), names).assign(**figures), data_definition=definition)
        for table in (now, before)
    ]
    methods = {name: NUMBER_METHOD if name in numbers else CATEGORY_METHOD for name in columns}
    metrics = [
        WindowFacts(facts=json.dumps(facts).replace("<", HARMLESS), tests=[]),
        *(WindowFigure(figure=name, tests=[]) for name in figures),
        DataDriftPreset(columns=columns, per_column_method=methods, threshold=COLUMN_LEVEL),
    ]
    ended = datetime.fromtimestamp(facts["until"], UTC).replace(tzinfo=None)
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Evidently's own, about columns that do not vary
        return Report(metrics).run(*sets, timestamp=ended, name=f"window {facts['number']} of {facts['model_version']}")


def _inert(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    return table.assign(**{name: table[name].str.replace("<", HARMLESS, regex=False) for name in names})


def figures_of(facts: Facts) -> dict[str, float]:
    """Return the figures that the dashboard shows over time; those that the window lacks are left out."""
    drift, unknown = facts["drift"], facts["descriptors"]["unknown_word_share"]["now"]
    found = {
        "drift": None if drift["p_value"] is None else -math.log10(max(LEAST_P, drift["p_value"])),
        "drift that alarms": -math.log10(drift["level"]),
        "accuracy, measured": _value(facts["quality"]),
        "accuracy, estimated": _value(facts["estimate"]),
        "accuracy, snapshot": facts["accuracy_at_snapshot"],
        "unknown words": unknown,
        "answers": facts["rows"],
        "labelled": facts["labelled"],
    }
    return {name: float(value) for name, value in found.items() if value is not None}


def write_page(report: Snapshot, path: Path) -> None:
    """Write the report as a page that needs no network, for its owner alone, all of it or nothing."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.partial")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(html(report))
    beside.replace(path)


def keep_run(report: Snapshot, workspace: Path, project: str) -> None:
    """Add the report to a workspace's project, which is made with its dashboard where it is missing; a window is kept once."""
    workspace.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = Workspace.create(str(workspace))
    there = [found for found in kept.list_projects() if found.name == project]
    found = there[0] if there else _with_dashboard(kept.create_project(project))
    name = report.get_name()
    if any((run := kept.get_run(found.id, item)) and run.name == name for item in kept.list_runs(found.id)):
        return
    kept.add_run(found.id, report, name=name)


def serve(workspace: Path, *, port: int) -> None:
    """Serve Evidently's own pages over a workspace on this machine alone, until the process is ended."""
    from evidently.ui.service.app import run_local

    os.environ["DO_NOT_TRACK"] = "1"
    run_local(host="127.0.0.1", port=port, workspace=str(workspace))


def _with_dashboard(project: Any) -> Any:
    for title, figures in PANELS:
        lines = [PanelMetric(legend=legend, metric="WindowFigure", metric_labels={"figure": name}) for name, legend in figures.items()]
        project.dashboard.add_panel(line_plot_panel(title=title, values=lines, size="half"), tab="Windows")
    project.save()
    return project


def _value(part: Facts | None) -> float | None:
    return part["accuracy"]["value"] if part and part.get("accuracy") else None


def _test(test: Facts) -> list[str]:
    statistic, p_value = (("-" if test[name] is None else f"{test[name]:.3g}") for name in ("statistic", "p_value"))
    scale = f" ({test['scale']})" if test.get("scale") not in (None, "window") else ""
    return [test["name"] + scale, test["kind"], test["method"], statistic, p_value, "ALARM" if test["alarm"] else "no", test["note"] or ""]


def _quality(quality: Facts | None) -> list[Any]:
    if not quality:
        return []
    rows = [
        [
            part["by"],
            part["name"],
            f"{part['rows']:,}",
            _said(part["accuracy"]),
            "-" if part["reference"] is None else f"{part['reference']:.3f}",
        ]
        for part in [*quality["classes"], *quality["groups"]]
    ]
    title = f"Accuracy by late labels {_said(quality['accuracy'])}, lost {_said(quality['loss'])}"
    return [table_data(title=title, column_names=("By", "Part", "Labels", "Accuracy", "At the snapshot"), data=rows)]


def _words(explanation: Facts | None) -> list[Any]:
    found = (explanation or {}).get("words") or []
    rows = [[one["word"], f"{one['now']:.1%}", f"{one['before']:.1%}", "new" if one["new"] else ""] for one in found]
    return [table_data(title="Words", column_names=("Word", "Texts now", "At the snapshot", ""), data=rows)] if rows else []


def _said(figure: Facts | None) -> str:
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})" if figure else "-"
