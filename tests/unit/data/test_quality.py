from datetime import date

import pandas as pd
import pytest

from evergreen.data.quality import damaged, examine, refusal, refusals
from evergreen.data.quality_page import render_quality
from evergreen.errors import ColumnError
from tests.data_factories import bounds, good_rows, rows

TODAY = date(2025, 6, 30)


def outcomes(table: pd.DataFrame, **changes: object) -> dict[str, tuple[str, int]]:
    """Name, outcome and rows of every check that did not pass."""
    report = examine(table, bounds=bounds(**changes), today=TODAY)
    return {check["name"]: (check["outcome"], check["rows"]) for check in report["checks"] if check["outcome"] != "pass"}


def with_row(text: str, label: str = "card", number: int = 10) -> pd.DataFrame:
    good = good_rows(number)
    return pd.concat([good, rows([text], [label]).assign(id="odd").astype("str")], ignore_index=True)


def test_good_rows_pass_every_check() -> None:
    assert outcomes(good_rows()) == {}


def test_the_report_describes_the_table() -> None:
    table = good_rows(4).assign(
        timestamp=pd.to_datetime(["2025-01-02", "2025-03-04"] * 2).astype("datetime64[us]"), group_age=["a", "b", "b", "b"]
    )
    report = examine(table.astype({"group_age": "str"}), bounds=bounds(), today=TODAY)
    assert report["rows"] == 4
    assert report["labels"] == {"card": 2, "fees": 2}
    assert (report["from"], report["to"]) == ("2025-01-02", "2025-03-04")
    assert report["groups"] == {"age": {"a": 1, "b": 3}}
    assert report["text_length"]["max"] == len("message number 3")


@pytest.mark.parametrize(
    ("table", "changes", "expected"),
    [
        (good_rows(4), {"min_rows": 5}, {"rows": ("refuse", 4)}),
        (rows(["a", "b"], ["x", "x"]), {}, {"rows": ("refuse", 2)}),
        (with_row("hello", "once"), {}, {"rare_label": ("refuse", 1)}),
        (with_row("hello", " "), {}, {"missing_label": ("refuse", 1), "rare_label": ("refuse", 1)}),
        (with_row("hello", "CARD"), {"min_rows_per_label": 1}, {"label_spelling": ("warn", 6)}),
        (with_row("  "), {}, {"short_text": ("refuse", 1)}),
        (with_row("  "), {"max_short_share": 0.1}, {"short_text": ("warn", 1)}),
        (with_row("x" * 30), {"max_text_length": 29}, {"long_text": ("refuse", 1)}),
        (with_row("message number 0"), {}, {"duplicate_text": ("warn", 1)}),
        (with_row("message number 0"), {"max_duplicate_share": 0.0}, {"duplicate_text": ("refuse", 1)}),
        (with_row("message number 1"), {}, {"duplicate_text": ("warn", 1), "conflicting_label": ("refuse", 2)}),
        (with_row("cafÃ© is closed"), {}, {"encoding_damage": ("refuse", 1)}),
        (with_row("bell\x07"), {}, {"control_characters": ("warn", 1)}),
    ],
)
def test_each_flaw_is_found_by_its_check_alone(table: pd.DataFrame, changes: dict, expected: dict) -> None:
    assert outcomes(table, **changes) == expected


@pytest.mark.parametrize(
    ("day", "latest", "refused"), [("2025-06-30 23:59", None, False), ("2025-07-01", None, True), ("2025-07-01", date(2025, 7, 1), False)]
)
def test_dates_in_the_future_are_refused(day: str, latest: date | None, refused: bool) -> None:
    table = good_rows(2).assign(timestamp=pd.to_datetime([day, "2025-01-01"], format="ISO8601").astype("datetime64[us]"))
    assert ("future_date" in outcomes(table, latest_date=latest, min_rows_per_label=1)) is refused


@pytest.mark.parametrize("text", ["cafÃ© closed", "itâ€™s", "Â£20", "broken \ufffd", "Ð¿Ñ€Ð¸Ð²ÐµÑ‚", "naÃ¯ve"])
def test_encoding_damage_is_seen(text: str) -> None:
    assert damaged(text)


@pytest.mark.parametrize(
    "text", ["café", "it’s £20 – “fine”…", "CAFÉ» ouvert", "привет", "你好，世界", "São João, ÃO", "€1™", "Ærø–Åse", "🙈"]
)
def test_real_letters_are_not_taken_for_damage(text: str) -> None:
    assert not damaged(text)


def test_a_refusal_names_the_rows_of_all_checks_at_once() -> None:
    table = pd.concat([with_row("", number=8), rows(["one long text " * 10], ["once"]).assign(id="q1").astype("str")], ignore_index=True)
    report = examine(table, bounds=bounds(), today=TODAY)
    message = refusal(report, table)
    assert [check["name"] for check in refusals(report)] == ["rare_label", "short_text"]
    assert "labels with fewer than 2 rows (once: 1): 1 row (10.0%; tolerated: 0.0%). Add rows, merge or drop these labels" in message
    assert "    q1: [once] 'one long text one long text" in message
    assert "…'" in message
    assert "texts that are empty or shorter than 1 characters: 1 row" in message
    assert "    odd: [card] ''" in message


def test_neither_refusal_nor_page_shows_personal_data() -> None:
    at_the_cut = "word " * 14 + "to jo@example.org, please"
    table = rows([at_the_cut, at_the_cut, "Call 07700 900118", "Call 07700 900118"], ["x", "y"] * 2)
    report = examine(table, bounds=bounds(), today=TODAY)
    for shown in (refusal(report, table), render_quality(report, table)):
        assert "[x] 'Call [PHONE]'" in shown
        assert "word to [EMA" in shown
        assert "jo@" not in shown


def test_a_refusal_names_as_many_rows_as_asked_and_counts_the_rest() -> None:
    table = rows([""] * 5 + ["a", "b"], ["x"] * 5 + ["y", "y"])
    message = refusal(examine(table, bounds=bounds(rows_named=2), today=TODAY), table)
    assert "r1: [x] ''" in message
    assert "r2: [x] ''" not in message
    assert "... and 3 more" in message


def test_a_table_without_its_columns_is_no_table_of_examples() -> None:
    with pytest.raises(ColumnError, match="the raw table is not a table of examples"):
        examine(good_rows().astype({"id": "object"}).assign(id=[1] * 6), bounds=bounds(), today=TODAY)


def test_the_page_shows_checks_rows_and_counts_and_no_text_breaks_it() -> None:
    table = with_row("pipe | and <b>bold</b>\nline \x07")
    page = render_quality(examine(table, bounds=bounds(), today=TODAY), table)
    assert "11 rows, 2 labels. **Fit to use.**" in page
    assert "| texts with control characters | 1 | 9.1% |  | tolerated |" in page
    assert "| odd | [card] 'pipe \\| and &lt;b>bold&lt;/b>\\\\nline \\\\x07' |" in page
    assert "| card | 6 | 54.5% |" in page
