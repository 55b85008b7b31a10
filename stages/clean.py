"""raw -> clean: texts normalised, personal data masked, duplicates and conflicting labels out."""

from types import SimpleNamespace

from evergreen.config import Params
from evergreen.data.cleaning import clean_table
from evergreen.data.records import read_table, write_table
from evergreen.reports import write_report
from stages._run import main, say


def clean(params: Params, inputs: SimpleNamespace, outputs: SimpleNamespace) -> None:
    """Clean the raw table; the quality report is an input only so that refused data go no further."""
    table, report = clean_table(read_table(inputs.raw), settings=params.clean)
    say(f"{report['rows_in']:,} rows in, {report['rows_out']:,} out; {report['texts_normalised']:,} texts normalised")
    say(
        f"dropped: {report['duplicates_dropped']:,} duplicates, {report['conflicts_dropped']:,} with conflicting labels, "
        f"{report['empty_dropped']:,} empty"
    )
    masked = [f"{count['found']:,} {kind}" for kind, count in report["masked"].items() if count["found"]]
    say(f"personal data masked: {', '.join(masked) or 'none found'}")
    write_table(table, outputs.clean)
    write_report(report, outputs.report)


if __name__ == "__main__":
    main(clean)
