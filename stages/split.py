"""clean -> train / validation / calibration / test, checked for leakage."""

from types import SimpleNamespace

from evergreen.config import Params
from evergreen.data.records import read_table, write_table
from evergreen.data.splitting import split_table
from evergreen.reports import write_report
from evergreen.wording import counted
from stages._run import main, say


def split(params: Params, inputs: SimpleNamespace, outputs: SimpleNamespace) -> None:
    """Split the clean table; a leak or a label that cannot be in every split fails the stage."""
    splits, report = split_table(read_table(inputs.clean), settings=params.split)
    total = sum(len(rows) for rows in splits.values())
    outputs.splits.mkdir()
    for name, rows in splits.items():
        period = f", {report['splits'][name]['from']} to {report['splits'][name]['to']}" if report["splits"][name]["from"] else ""
        say(f"{name:<12}{len(rows):>8,} rows ({len(rows) / total:5.1%}){period}")
        write_table(rows, outputs.splits / f"{name}.parquet")
    customers, pairs = report["kept_together"]["customers"], report["kept_together"]["near_duplicates"]
    say(f"found {counted(customers, 'customer')} with several rows and {counted(pairs, 'near-duplicate pair')}; no leak")
    if report["removed"]:
        say(f"removed {counted(report['removed'], 'row')} repeating a row of another split")
    write_report(report, outputs.report)


if __name__ == "__main__":
    main(split)
