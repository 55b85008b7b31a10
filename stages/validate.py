"""raw -> quality report, or a refusal that names rows."""

from datetime import UTC, datetime
from types import SimpleNamespace

from evergreen.config import Params
from evergreen.data.quality import examine, refusal, refusals
from evergreen.data.quality_page import render_quality
from evergreen.data.records import read_table
from evergreen.errors import QualityError
from evergreen.reports import write_report
from evergreen.wording import counted
from stages._run import home, main, say


def validate(params: Params, inputs: SimpleNamespace, outputs: SimpleNamespace) -> None:
    """Check the raw table; a refusal keeps its page under EVERGREEN_HOME, because refused data leave no output."""
    table = read_table(inputs.raw)
    report = examine(table, bounds=params.validate_, today=datetime.now(UTC).date())
    page = render_quality(report, table)
    refused = home() / "refused" / "quality.md"
    if found := refusals(report):
        refused.parent.mkdir(parents=True, exist_ok=True)
        refused.write_text(page, encoding="utf-8")
        number = counted(len(found), "check")
        raise QualityError(f"the data is refused by {number}:\n{refusal(report, table)}\nThe whole report is in {refused}")
    refused.unlink(missing_ok=True)
    say(f"{report['rows']:,} rows, {len(report['labels'])} labels: fit to use ({len(report['checks'])} checks)")
    for check in report["checks"]:
        if check["outcome"] == "warn":
            say(f"tolerated: {counted(check['rows'], 'row')}, {check['title']}")
    outputs.page.write_text(page, encoding="utf-8")
    write_report(report, outputs.report)


if __name__ == "__main__":
    main(validate)
