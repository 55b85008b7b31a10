"""The quality report as a Markdown page for a person."""

from typing import Any

import pandas as pd

from evergreen.data.quality import examples
from evergreen.wording import counted

MARKS = {"pass": "passed", "warn": "tolerated", "refuse": "**refused**"}


def render_quality(report: dict[str, Any], table: pd.DataFrame) -> str:
    """Return the page: outcome, checks, rows found, labels, groups."""
    refused = [check for check in report["checks"] if check["outcome"] == "refuse"]
    period = f", from {report['from']} to {report['to']}" if report["from"] else ""
    lines = [
        "# Data quality",
        "",
        f"{report['rows']:,} rows, {len(report['labels'])} labels{period}. "
        + (f"**Refused by {counted(len(refused), 'check')}.**" if refused else "**Fit to use.**"),
        "",
        "| check | rows | share | tolerated | outcome |",
        "|---|---:|---:|---:|---|",
        *(_check_line(check) for check in report["checks"]),
    ]
    for check in report["checks"]:
        if check["ids"]:
            lines += [
                "",
                f"## {check['title'][:1].upper()}{check['title'][1:]}",
                "",
                f"{counted(check['rows'], 'row')}. {check['advice']}.",
                "",
            ]
            lines += _table(("id", "row"), [(row, _cell(text)) for row, text in examples(table, check["ids"])])
            if check["rows"] > len(check["ids"]):
                lines += ["", f"... and {check['rows'] - len(check['ids']):,} more."]
    names = {"min": "shortest", "median": "median", "p95": "95th percentile", "max": "longest"}
    lengths: list[tuple[str, ...]] = [(name, f"{report['text_length'][key]:,.0f}") for key, name in names.items()]
    lines += ["", "## Text length", "", *_table(("text", "characters"), lengths)]
    lines += ["", "## Labels", "", *_counts("label", report["labels"], report["rows"])]
    for name, found in report["groups"].items():
        lines += ["", f"## Group {_cell(name)}", "", *_counts("group", found, report["rows"])]
    return "\n".join(lines) + "\n"


def _check_line(check: dict[str, Any]) -> str:
    bound = "" if check["bound"] is None else f"{check['bound']:.1%}"
    return f"| {_cell(check['title'])} | {check['rows']:,} | {check['share']:.1%} | {bound} | {MARKS[check['outcome']]} |"


def _counts(head: str, found: dict[str, int], rows: int) -> list[str]:
    return _table((head, "rows", "share"), [(_cell(name), f"{number:,}", f"{number / rows:.1%}") for name, number in found.items()])


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}" if head[1] != "row" else "|---|---|"]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def _cell(text: str) -> str:
    """Return text that cannot break out of a Markdown table's cell."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
