"""audit: test predictions -> accuracy, selection and error rates of each group, and their gaps."""

from types import SimpleNamespace
from typing import Any

from evergreen.config import Params
from evergreen.data.records import read_table
from evergreen.evaluation.audit import audit as audit_table
from evergreen.evaluation.intervals import shown
from evergreen.reports import write_report
from stages._run import main, say


def audit(params: Params, inputs: SimpleNamespace, outputs: SimpleNamespace) -> None:
    """Compare the model's answers between groups of people."""
    knobs = params.audit
    report = audit_table(
        read_table(inputs.predictions),
        min_group_rows=knobs.min_group_rows,
        intersections=knobs.intersections,
        resamples=knobs.resamples,
        level=knobs.level,
        seed=knobs.seed,
    )
    write_report(report, outputs.report)
    _account(report)


def _account(report: dict[str, Any]) -> None:
    if report["reason"]:
        say(f"nothing to audit: {report['reason']}")
        return
    for grouping in report["columns"] + report["intersections"]:
        small = sum(group["outcome"] == "insufficient" for group in grouping["groups"])
        say(f"{grouping['name']}: {len(grouping['groups'])} groups" + (f", {small} of them too small to judge" if small else ""))
    worst, gap = report["worst_group"], report["largest_gap"]
    say(f"lowest accuracy: {shown(worst['accuracy'])} for {worst['column']} {worst['group']} ({worst['rows']:,} rows)")
    if gap:
        say(f"widest gap: {shown(gap['difference'])} for {gap['column']}, {gap['lowest']} below {gap['highest']}")


if __name__ == "__main__":
    main(audit)
