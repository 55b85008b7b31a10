"""Quality: is a table of examples fit to learn from? Row checks through a pandera schema, each with the share it tolerates.

Knows nothing of files; `validate` says what it found, `refusal` turns it into the message that stops the pipeline.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any, Literal

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from evergreen.data.records import context_columns, group_columns, group_name
from evergreen.data.text import CONTROL, beginning
from evergreen.errors import ColumnError
from evergreen.sections.pipeline import Validate
from evergreen.wording import counted

# Where UTF-8 was read as Windows-1252, an accented letter becomes a run of these.
SUSPECT = re.compile("[\u0080-\u00ff\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u2122]{2,}")
LATIN_LEADS = ("Â", "Ã", "â")
Outcome = Literal["pass", "warn", "refuse"]


@dataclass(frozen=True)
class Check:
    """What one check found: `rows` of `share` of all, the share that is tolerated, and the first ids."""

    name: str
    title: str
    rows: int
    share: float
    bound: float | None
    outcome: Outcome
    ids: list[str]
    advice: str


@dataclass(frozen=True)
class Rule:
    """A row check: which rows fail it (a Series of bool from a column), the tolerated share, and what a person can do.

    `bound` None: the finding is worth a line, never a refusal.
    """

    name: str
    column: str
    title: str
    bound: float | None
    advice: str
    check: pa.Check


def examine(table: pd.DataFrame, *, bounds: Validate, today: date) -> dict[str, Any]:
    """Return the quality report of a table of examples (JSON-ready), whatever it found.

    Raises ColumnError when a column is missing or of another type: then the table is not a table of examples.
    """
    rules = _rules(table, bounds, today)
    failed = _failing_rows(table, rules)
    checks = [_count_check(table, bounds), *(_row_check(table, rule, failed[rule.name], bounds.rows_named) for rule in rules)]
    lengths = table["text"].str.len()
    times = table["timestamp"] if "timestamp" in table.columns else None
    return {
        "rows": len(table),
        "labels": counts(table["label"].str.strip()),
        "checks": [asdict(check) for check in checks],
        "text_length": {"min": lengths.min(), "median": lengths.median(), "p95": lengths.quantile(0.95), "max": lengths.max()},
        "from": None if times is None else times.min().date().isoformat(),
        "to": None if times is None else times.max().date().isoformat(),
        "groups": {group_name(column): counts(table[column]) for column in group_columns(table)},
    }


def counts(values: "pd.Series[str]") -> dict[str, int]:
    """Return how often each value occurs, in the order of the values."""
    return {str(value): int(rows) for value, rows in values.value_counts().sort_index().items()}


def refusals(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the checks of a report that refuse the data."""
    return [check for check in report["checks"] if check["outcome"] == "refuse"]


def refusal(report: dict[str, Any], table: pd.DataFrame) -> str:
    """Return the message of a refusal: every check that refuses, with its rows named and what can be done."""
    lines = []
    for check in refusals(report):
        bound = "" if check["bound"] is None or not check["ids"] else f" ({check['share']:.1%}; tolerated: {check['bound']:.1%})"
        lines.append(f"- {check['title']}: {counted(check['rows'], 'row')}{bound}. {check['advice']}")
        lines += [f"    {row}: {text}" for row, text in examples(table, check["ids"])]
        if check["rows"] > len(check["ids"]) > 0:
            lines.append(f"    ... and {check['rows'] - len(check['ids']):,} more")
    return "\n".join(lines)


def examples(table: pd.DataFrame, ids: Sequence[str]) -> list[tuple[str, str]]:
    """Return id, label and, in quotes, the beginning of the text without personal data, of the rows with these ids, in their order."""
    rows = table.set_index("id").loc[list(ids)]
    return [(str(row.Index), f"[{row.label}] {beginning(str(row.text))}") for row in rows.itertuples()]


def damaged(text: str) -> bool:
    """Return whether a text shows encoding damage: U+FFFD, or UTF-8 that was read as Windows-1252 ("Ã©" for "é")."""
    return "\ufffd" in text or any(_misread(run) for run in SUSPECT.findall(text))


def _misread(run: str) -> bool:
    """Return whether a run of characters, turned back into bytes, is UTF-8; short runs count only as misread Latin."""
    try:
        content = b"".join(character.encode("latin-1" if character < "\u0100" else "cp1252") for character in run)
        decoded = content.decode("utf-8")
    except UnicodeError:
        return False
    return len(decoded) >= 3 or run.startswith(LATIN_LEADS)


def _rules(table: pd.DataFrame, bounds: Validate, today: date) -> list[Rule]:
    texts, labels = table["text"].str.strip(), table["label"].str.strip()
    rare = labels.map(labels.value_counts()) < bounds.min_rows_per_label
    repeated = texts.duplicated(keep="first") & (texts != "")
    conflict = labels.groupby(texts).transform("nunique").gt(1) & (texts != "")
    spelling = labels.groupby(labels.str.casefold()).transform("nunique").gt(1)
    latest = bounds.latest_date or today

    def rule(name: str, column: str, title: str, bound: float | None, advice: str, failing: Any) -> Rule:
        return Rule(name, column, title, bound, advice, pa.Check(lambda values: ~failing(values), name=name, error=name))

    found = [
        rule("missing_label", "label", "no label", 0.0, "Label these rows or take them out", lambda values: values.str.strip() == ""),
        rule(
            "rare_label", "label", f"labels with fewer than {bounds.min_rows_per_label} rows{_listed(labels, rare)}", 0.0,
            "Add rows, merge or drop these labels, or lower validate.min_rows_per_label", lambda _: rare,
        ),
        rule(
            "label_spelling", "label", "labels that differ from another only by capitals", None,
            "Spell them alike if they mean the same", lambda _: spelling,
        ),
        rule(
            "short_text", "text", f"texts that are empty or shorter than {bounds.min_text_length} characters", bounds.max_short_share,
            "Fill or take out these rows, or raise validate.max_short_share",
            lambda values: values.str.strip().str.len() < bounds.min_text_length,
        ),
        rule(
            "long_text", "text", f"texts longer than {bounds.max_text_length:,} characters", bounds.max_long_share,
            "Shorten them, or raise validate.max_text_length or max_long_share", lambda values: values.str.len() > bounds.max_text_length,
        ),
        rule(
            "duplicate_text", "text", "texts that repeat another row's", bounds.max_duplicate_share,
            "Take the repeats out, or raise validate.max_duplicate_share", lambda _: repeated,
        ),
        rule(
            "conflicting_label", "text", "texts that also stand under another label", bounds.max_conflict_share,
            "Decide on one label for each, or raise validate.max_conflict_share", lambda _: conflict,
        ),
        rule(
            "encoding_damage", "text", 'texts with encoding damage ("Ã©" for "é", U+FFFD)', bounds.max_damaged_share,
            "Export the source again as UTF-8, or raise validate.max_damaged_share", lambda values: values.map(damaged).astype(bool),
        ),
        rule(
            "control_characters", "text", "texts with control characters", None,
            "The clean stage takes them out", lambda values: values.str.contains(CONTROL),
        ),
    ]  # fmt: skip
    if "timestamp" in table.columns:
        end = pd.Timestamp(latest) + timedelta(days=1)
        advice = "Correct these dates, or set validate.latest_date if they are right"
        found.append(rule("future_date", "timestamp", f"dates after {latest}", 0.0, advice, lambda values: values >= end))
    return found


def _listed(labels: "pd.Series[str]", rare: "pd.Series[bool]") -> str:
    few = labels[rare & (labels != "")].value_counts().sort_index()
    return f" ({'; '.join(f'{label}: {rows}' for label, rows in few.items())})" if len(few) else ""


def _schema(table: pd.DataFrame, rules: list[Rule]) -> pa.DataFrameSchema:
    texts = ["id", "text", "label", *[name for name in ("customer", "split") if name in table.columns]]
    texts += [*group_columns(table), *context_columns(table)]
    types: dict[str, Any] = dict.fromkeys(texts, pd.StringDtype(na_value=float("nan")))
    if "timestamp" in table.columns:
        types["timestamp"] = "datetime64[us]"
    checks = {name: [rule.check for rule in rules if rule.column == name] for name in types}
    return pa.DataFrameSchema({name: pa.Column(kind, checks[name], unique=name == "id") for name, kind in types.items()}, strict=True)


def _failing_rows(table: pd.DataFrame, rules: list[Rule]) -> dict[str, list[int]]:
    """Return, for each rule, the positions of the rows that fail it, in the table's order."""
    failed: dict[str, list[int]] = {rule.name: [] for rule in rules}
    try:
        _schema(table, rules).validate(table.reset_index(drop=True), lazy=True)
    except SchemaErrors as faults:
        cases = faults.failure_cases
        for name, found in cases.groupby("check", sort=False):
            if name not in failed:
                columns = ", ".join(map(str, found["column"].dropna().unique()))
                raise ColumnError(
                    f"the raw table is not a table of examples: {name} (columns: {columns}); run `dvc repro ingest`"
                ) from None
            failed[str(name)] = sorted(found["index"].astype(int))
    return failed


def _count_check(table: pd.DataFrame, bounds: Validate) -> Check:
    rows, labels = len(table), table["label"].nunique()
    if labels < 2:
        advice, title = "A classifier needs two labels or more; look at ingest.columns.label", f"only {labels} label"
    else:
        advice, title = (
            "Collect more rows, or lower validate.min_rows",
            f"{'at least' if rows >= bounds.min_rows else 'fewer than'} {bounds.min_rows:,} rows",
        )
    enough = rows >= bounds.min_rows and labels > 1
    return Check("rows", title, rows, 1.0, None, "pass" if enough else "refuse", [], advice)


def _row_check(table: pd.DataFrame, rule: Rule, rows: list[int], named: int) -> Check:
    share = len(rows) / max(len(table), 1)
    outcome: Outcome = "pass" if not rows else "refuse" if rule.bound is not None and share > rule.bound else "warn"
    ids = [str(value) for value in table["id"].iloc[rows[:named]]]
    return Check(rule.name, rule.title, len(rows), share, rule.bound, outcome, ids, rule.advice)
