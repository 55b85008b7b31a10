"""The content of the audit's report: figures and gaps of every group column and of their crossings, and the two worst.

The summaries for the gate (`worst_group`, `largest_gap`) look at the columns alone. Crossings are shown with their own
worst, but cut the rows so small that the worst of many is mostly chance.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from evergreen.data.records import group_columns, group_name
from evergreen.evaluation.fairness import MIN_RATE_ROWS, RATES, Grouping, Sampled, Subject, cross, gap, sample
from evergreen.evaluation.intervals import Floats, intervals


def audit(table: pd.DataFrame, *, min_group_rows: int, intersections: bool, resamples: int, level: float, seed: int) -> dict[str, Any]:
    """Return the audit's report of a table of predictions: `label`, `prediction`, group columns, `customer` where known."""
    subject = Subject.of(table)
    groupings = [Grouping.of(group_name(column), table[column].tolist()) for column in group_columns(table)]
    crossed = [cross(one, other) for one, other in combinations(groupings, 2)] if intersections else []
    columns, crossings = (
        [audit_grouping(subject, item, min_group_rows=min_group_rows, resamples=resamples, level=level, seed=seed) for item in items]
        for items in (groupings, crossed)
    )
    return {
        "rows": len(table),
        "level": level,
        "resamples": resamples,
        "min_group_rows": min_group_rows,
        "min_rate_rows": MIN_RATE_ROWS,
        "columns": columns,
        "intersections": crossings,
        "worst_group": worst_group(columns),
        "worst_intersection": worst_group(crossings),
        "largest_gap": largest_gap(columns),
        "reason": _reason(columns, min_group_rows=min_group_rows),
    }


def audit_grouping(subject: Subject, grouping: Grouping, *, min_group_rows: int, resamples: int, level: float, seed: int) -> dict[str, Any]:
    """Return the figures of each group of one grouping and the gaps between those that have enough rows."""
    large = grouping.at_least(min_group_rows)
    small = {name: int(rows) for name, rows in zip(grouping.names, grouping.rows, strict=True) if name not in large.names}
    groups: list[dict[str, Any]] = [
        {"group": name, "rows": rows, "outcome": "insufficient", "accuracy": None, "classes": []} for name, rows in small.items()
    ]
    if not large.names:
        return {"name": grouping.title, "groups": groups, "gaps": []}
    sampled = sample(subject, large, resamples=resamples, level=level, seed=seed)
    groups += _group_table(subject, large, sampled)
    return {
        "name": grouping.title,
        "groups": sorted(groups, key=lambda group: str(group["group"])),
        "gaps": _gap_table(subject, large, sampled),
    }


def worst_group(columns: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the group with the lowest accuracy of all columns, of those with enough rows; None where there is none."""
    found = [
        {"column": column["name"], **{key: group[key] for key in ("group", "rows", "accuracy")}}
        for column in columns
        for group in column["groups"]
        if group["outcome"] == "ok"
    ]
    return min(found, key=lambda group: float(group["accuracy"]["value"]), default=None)


def largest_gap(columns: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the gap in accuracy whose interval reaches highest, which is what the gate bounds; None without a gap."""
    found = [
        {"column": column["name"], **{key: gap[key] for key in ("lowest", "highest", "difference")}}
        for column in columns
        for gap in column["gaps"]
        if gap["metric"] == "accuracy"
    ]
    return max(found, key=lambda gap: float(gap["difference"]["high"]), default=None)


def _group_table(subject: Subject, grouping: Grouping, sampled: Sampled) -> list[dict[str, Any]]:
    accuracies = intervals(sampled.accuracy, sampled.accuracy_draws, level=sampled.level)
    return [
        {
            "group": name,
            "rows": int(grouping.rows[code]),
            "outcome": "ok",
            "accuracy": accuracies[code].report(),
            "classes": _class_table(subject, grouping, sampled, code),
        }
        for code, name in enumerate(grouping.names)
    ]


def _class_table(subject: Subject, grouping: Grouping, sampled: Sampled, code: int) -> list[dict[str, Any]]:
    rows = np.bincount(subject.actual[grouping.codes == code], minlength=len(subject.labels))
    found = [intervals(sampled.rates[kind, code], sampled.rate_draws[:, kind, code], level=sampled.level) for kind in range(len(RATES))]
    return [
        {"label": label, "rows": int(rows[place])} | {name: found[kind][place].report() for kind, name in enumerate(RATES)}
        for place, label in enumerate(subject.labels)
    ]


def _gap_table(subject: Subject, grouping: Grouping, sampled: Sampled) -> list[dict[str, Any]]:
    measured: list[tuple[str, str | None, Floats, Floats]] = [("accuracy", None, sampled.accuracy, sampled.accuracy_draws)]
    for kind, name in enumerate(RATES):
        for place, label in enumerate(subject.labels):
            measured.append((name, label, sampled.rates[kind, :, place], sampled.rate_draws[:, kind, :, place]))
    table = []
    for metric, about, points_G, draws_BG in measured:
        if found := gap(points_G, draws_BG, level=sampled.level):
            difference, share, worst, best = found
            ends = {"lowest": grouping.names[worst], "highest": grouping.names[best]}
            table.append({"metric": metric, "label": about, "difference": difference.report(), "ratio": share.report(), **ends})
    return table


def _reason(columns: Sequence[dict[str, Any]], *, min_group_rows: int) -> str | None:
    """Return why there is nothing to audit, or None."""
    if not columns:
        return "the data has no group columns; name some under ingest.columns.groups in params.yaml"
    if worst_group(columns) is None:
        return f"no group has {min_group_rows} test rows or more (audit.min_group_rows)"
    return None
