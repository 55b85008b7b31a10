"""One page by Evidently: classification, drift of test against train, and the fairness audit, as a self-contained HTML.

Everything is computed before: Evidently gets our own tests under our own names, and our audit through a metric of its
kind. Importing Evidently takes 4 s, so only the snapshot stage imports this module. Knows nothing of files.
"""

import html
import json
import math
import re
import warnings
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, MulticlassClassification, Report
from evidently.core.metric_types import SingleValue, SingleValueCalculation, SingleValueMetric
from evidently.core.report import Context
from evidently.legacy.calculations.stattests import StatTest, register_stattest
from evidently.legacy.core import ColumnType
from evidently.legacy.renderers.html_widgets import CounterData, counter, plotly_figure, table_data, text_widget
from evidently.presets import ClassificationQuality, ClassificationQualityByLabel, DataDriftPreset
from evidently.tests import lte
from numpy.typing import NDArray
from sklearn.exceptions import UndefinedMetricWarning

from evergreen.drift.two_sample import Outcome, g_test, kolmogorov_smirnov
from evergreen.evaluation.evidently_html import html as html_of
from evergreen.evaluation.evidently_tables import audit_figure, audit_rows, drift_rows, gap_rows

ACTUAL, PREDICTED = "actual label", "predicted label"
NUMBER_TEST, CATEGORY_TEST = "Kolmogorov-Smirnov p-value", "G-test p-value"
READING = (
    "*Current* is the test split, *reference* the train split. The model has learnt from the reference: expect its classification "
    "figures there to be better than on any new text. For the same reason the drift tests of the model's outputs and embeddings "
    "compare with held-out rows (validation and calibration), not with train."
)
EPOCH = datetime(2000, 1, 1)  # the page states no time of its own: the same rows give the same bytes
RANDOM_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|(?<=metric_)[0-9a-f]{32}")


class FairnessAudit(SingleValueMetric):  # type: ignore[misc]
    """The largest accuracy gap between groups (0-1; 0: none); the widget shows every group. `audit` is audit.json."""

    audit: str


class FairnessAuditCalculation(SingleValueCalculation[FairnessAudit]):  # type: ignore[misc]
    """Shows an audit that was computed before; the data sets given are not looked at."""

    def calculate(self, context: Context, current_data: Dataset, reference_data: Dataset | None) -> SingleValue:
        """Return the largest gap, NaN where there is none to audit, with its widgets."""
        audit = json.loads(self.metric.audit)
        gap = audit.get("largest_gap")
        result = self.result(float("nan") if gap is None else float(gap["difference"]["value"]))
        result.widget = _audit_widgets(audit)
        return result

    def display_name(self) -> str:
        """Return the metric's title."""
        return "Largest accuracy gap between groups"


class DriftBattery(SingleValueMetric):  # type: ignore[misc]
    """How many of the drift tests alarm; the widget lists them all. `drift` is drift.json."""

    drift: str
    reading: str


class DriftBatteryCalculation(SingleValueCalculation[DriftBattery]):  # type: ignore[misc]
    """Shows tests that were made before; the data sets given are not looked at."""

    def calculate(self, context: Context, current_data: Dataset, reference_data: Dataset | None) -> SingleValue:
        """Return the number of alarms, with the list of tests."""
        drift = json.loads(self.metric.drift)
        result = self.result(drift["drifted"])
        head = ("What", "Compared with", "Method", "Statistic", "p-value", "Alarm", "Note")
        title = f"Drift tests: an alarm below p = {drift['corrected_level']:.2g} ({drift['level']:g}, {drift['correction']})"
        result.widget = [
            text_widget(title="How to read this page", text=self.metric.reading),
            table_data(title=title, column_names=head, data=drift_rows(drift)),
        ]
        return result

    def display_name(self) -> str:
        """Return the metric's title."""
        return "Drift tests that alarm"


def evidently_page(current: pd.DataFrame, reference: pd.DataFrame, *, audit: dict[str, Any], drift: dict[str, Any]) -> str:
    """Return the page as HTML; the same tables give the same bytes.

    Both tables hold `label`, `prediction`, numeric columns (descriptors) and text columns (groups). What Evidently cannot
    take is left out: columns without a value in either table; classification where a table has fewer than two labels, or
    two of more; the section by label where the reference lacks one of them.
    """
    current, reference = (table.reset_index(drop=True) for table in (current, reference))
    names = [str(name) for name in current if current[name].notna().any() and reference[name].notna().any()]
    numbers = [name for name in names if pd.api.types.is_numeric_dtype(current[name])]
    categories = [name for name in names if name not in numbers]
    labels = sorted({*_labels(current), *_labels(reference)})
    sections = _classification(current, reference)
    # With two labels Evidently looks for the number 1 even where it has names for the numbers.
    shown = dict(enumerate(labels)) if len(labels) > 2 else None
    named = MulticlassClassification(target=ACTUAL, prediction_labels=PREDICTED, labels=shown)
    definition = DataDefinition(
        numerical_columns=numbers, categorical_columns=[*categories, ACTUAL, PREDICTED], classification=[named] if sections else None
    )
    reading = READING if shown or not sections else " ".join([READING, *_legend(labels)])
    battery = DriftBattery(drift=json.dumps(drift), reading=reading, tests=[lte(0)])
    audited = FairnessAudit(audit=json.dumps(audit), tests=[])
    metrics = [battery, *sections, _drift([name for name in names if name != "prediction"], numbers, drift), audited]
    datasets = [Dataset.from_pandas(_coded(table[names], labels), data_definition=definition) for table in (current, reference)]
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        # Evidently also correlates constant columns, and rates labels that one table lacks; both are shown as what they are.
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        snapshot = Report(metrics, include_tests=True).run(*datasets, timestamp=EPOCH)
    return _numbered(html_of(snapshot))


def _labels(table: pd.DataFrame) -> set[str]:
    return {*table["label"], *table["prediction"]}


def _legend(labels: Sequence[str]) -> tuple[str, str]:
    zero, one = map(html.escape, labels)
    return f"Labels are shown as numbers: 0 is *{zero}*, 1 is *{one}*.", f"Overall precision, recall and F1 are those of *{one}*."


def _coded(table: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """Return the table with labels as numbers beside them: Evidently puts names in the random order of a set, numbers not."""
    code = {label: number for number, label in enumerate(labels)}
    coded = {ACTUAL: table["label"].map(code).astype(int), PREDICTED: table["prediction"].map(code).astype(int)}
    return table.assign(**coded)


def _classification(current: pd.DataFrame, reference: pd.DataFrame) -> list[Any]:
    """Return the classification sections; without tests of their own: the gate judges, and Evidently's defaults fail a rise."""
    found = [_labels(table) for table in (current, reference)]
    if min(table["label"].nunique() for table in (current, reference)) < 2 or min(map(len, found)) == 2 < len(set.union(*found)):
        return []
    overall: dict[str, Any] = {f"{name}_tests": [] for name in ("accuracy", "precision", "recall", "f1score")}
    by_label: dict[str, Any] = {f"{name}_tests": {} for name in ("precision", "recall", "f1score")}
    known = found[0] <= found[1]
    return [ClassificationQuality(conf_matrix=True, **overall), *([ClassificationQualityByLabel(**by_label)] if known else [])]


def _drift(columns: Sequence[str], numbers: Sequence[str], drift: dict[str, Any]) -> DataDriftPreset:
    """Return the drift section, every column with the test that drift.json names for it, at the same level."""
    _register(NUMBER_TEST, ColumnType.Numerical, kolmogorov_smirnov)
    _register(CATEGORY_TEST, ColumnType.Categorical, g_test)
    methods = {name: NUMBER_TEST if name in numbers else CATEGORY_TEST for name in columns}
    any_column = math.floor(1000 / len(columns)) / 1000  # the level is shared out already, so that one alarm is a drift
    return DataDriftPreset(columns=list(columns), per_column_method=methods, threshold=drift["corrected_level"], drift_share=any_column)


def _register(name: str, kind: ColumnType, test: Callable[[NDArray[Any], NDArray[Any]], Outcome]) -> None:
    """Teach Evidently one of our tests. Too few rows for a test is no alarm: p = 1."""

    def run(reference: pd.Series, current: pd.Series, _: ColumnType, threshold: float) -> tuple[float, bool]:
        found = test(reference.to_numpy(), current.to_numpy()).p_value
        p_value = 1.0 if found is None else found
        return p_value, p_value < threshold

    register_stattest(StatTest(name=name, display_name=name, allowed_feature_types=[kind]), run)


def _audit_widgets(audit: dict[str, Any]) -> list[Any]:
    rows = audit_rows(audit)
    if not rows:
        return [counter(title="Fairness audit", counters=[CounterData("no groups to audit", audit.get("reason") or "no group columns")])]
    widgets = [
        plotly_figure(title="Fairness audit: accuracy of each group, with its interval", figure=audit_figure(audit)),
        table_data(title="Groups", column_names=("Column", "Group", "Rows", "Accuracy", "Interval"), data=rows),
    ]
    gaps = gap_rows(audit)
    if gaps:
        head = ("Column", "Gap in", "Label", "Lowest", "Highest", "Difference", "Interval")
        widgets.append(table_data(title="Gaps between groups: in accuracy, then the widest of other rates", column_names=head, data=gaps))
    return widgets


def _numbered(page: str) -> str:
    """Replace Evidently's random ids by their order of appearance."""
    found = {name: f"{number:032x}" for number, name in enumerate(dict.fromkeys(RANDOM_ID.findall(page)))}
    return RANDOM_ID.sub(lambda match: found[match.group()], page)
