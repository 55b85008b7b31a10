"""source -> raw: read a file or folder as text and name its columns by role."""

from pathlib import Path
from types import SimpleNamespace

from evergreen.config import Params
from evergreen.data.records import context_columns, group_columns, group_name, write_table
from evergreen.data.roles import to_examples
from evergreen.data.sources import read_source
from stages._run import main, say


def ingest(params: Params, inputs: SimpleNamespace, outputs: SimpleNamespace) -> None:
    """Read the source, choose its columns and write the raw table."""
    source = read_source(Path(params.ingest.source))
    table = to_examples(source, params.ingest.columns)
    for file in source.files:
        say(f"{file.path}: {len(file.table):,} rows")
    if source.ignored:
        say(f"left alone: {', '.join(source.ignored)}")
    groups = ", ".join(group_name(column) for column in group_columns(table)) or "none"
    context = "".join(f", context: {group_name(column)}" for column in context_columns(table))
    say(f"{len(table):,} rows, {table['label'].nunique():,} labels, groups: {groups}{context}")
    if "split" in table.columns:
        say("splits of the source: " + ", ".join(f"{name} {rows:,}" for name, rows in table["split"].value_counts().items()))
    write_table(table, outputs.raw)


if __name__ == "__main__":
    main(ingest)
