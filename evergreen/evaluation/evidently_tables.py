"""The rows and the figure in which the Evidently page shows the fairness audit and the drift tests.

Takes reports as they are written; knows nothing of Evidently.
"""

from typing import Any

import plotly.graph_objects as go

MOST_GAPS = 20  # rows of the table of gaps


def audit_rows(audit: dict[str, Any]) -> list[list[str]]:
    """Return a row per group and crossing of groups: column, group, rows, accuracy, interval."""
    return [[column["name"], group["group"], f"{group['rows']:,}", *_said(group["accuracy"])] for column, group in _groups(audit)]


def gap_rows(audit: dict[str, Any]) -> list[list[str]]:
    """Return a row per gap: column, metric, label, lowest and highest group, difference, interval.

    Gaps in accuracy come first, for the gate bounds them; then the widest.
    """
    gaps = [(column["name"], gap) for column in _columns(audit) for gap in column["gaps"] if gap["difference"]]
    gaps.sort(key=lambda item: (item[1]["metric"] != "accuracy", -item[1]["difference"]["value"]))
    return [
        [name, gap["metric"].replace("_", " "), gap["label"] or "all", gap["lowest"], gap["highest"], *_said(gap["difference"])]
        for name, gap in gaps[:MOST_GAPS]
    ]


def drift_rows(drift: dict[str, Any]) -> list[list[str]]:
    """Return a row per drift test: what, reference, method, statistic, p-value, alarm, note."""
    return [
        [
            test["name"],
            test["reference"],
            test["method"],
            "-" if test["statistic"] is None else f"{test['statistic']:.3g}",
            "-" if test["p_value"] is None else f"{test['p_value']:.2g}",
            "ALARM" if test["drifted"] else "no",
            test["note"] or "",
        ]
        for test in drift["tests"]
    ]


def audit_figure(audit: dict[str, Any]) -> go.Figure:
    """Return a figure with the accuracy of each group that has enough rows, one colour per column, intervals as bars."""
    figure = go.Figure()
    for column in _columns(audit):
        groups = [group for group in column["groups"] if group["accuracy"]]
        values = [group["accuracy"]["value"] for group in groups]
        figure.add_scatter(
            name=column["name"],
            x=values,
            y=[f"{group['group']} ({group['rows']:,} rows)" for group in groups],
            mode="markers",
            marker={"size": 9},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [group["accuracy"]["high"] - value for group, value in zip(groups, values, strict=True)],
                "arrayminus": [value - group["accuracy"]["low"] for group, value in zip(groups, values, strict=True)],
            },
        )
    rows = sum(len(trace.x) for trace in figure.data)
    figure.update_layout(
        height=max(420, 160 + 26 * rows), margin={"l": 20, "r": 20, "t": 20, "b": 50}, legend={"orientation": "h", "y": 1.08}
    )
    figure.update_xaxes(title="accuracy")
    figure.update_yaxes(automargin=True, autorange="reversed")
    return figure


def _columns(audit: dict[str, Any]) -> list[dict[str, Any]]:
    return [*(audit.get("columns") or []), *(audit.get("intersections") or [])]


def _groups(audit: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [(column, group) for column in _columns(audit) for group in column["groups"]]


def _said(measured: dict[str, float] | None) -> tuple[str, str]:
    """Return a value and its interval as a person reads them."""
    if not measured:
        return "too few rows", ""
    return f"{measured['value']:.3f}", f"{measured['low']:.3f} to {measured['high']:.3f}"
