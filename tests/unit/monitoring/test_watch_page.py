"""The monitor's page says how things stand, shows what is on record, and asks nothing of anyone."""

import re
from typing import Any

import pytest

from evergreen.drift.assumption import IN_SHORT
from evergreen.monitoring.watch.history import Recorded
from evergreen.monitoring.watch.page import p_value, watch_page
from tests.monitor_factories import decision, drifting, estimated, facts, measured

ABOUT = {"name": "harbour-inbox", "title": "Harbour <inbox>"}
DAY = 86_400.0


def page(windows: list[dict[str, Any]], decisions: list[Recorded] | None = None, **changes: Any) -> str:
    given: dict[str, Any] = {"about": ABOUT, "texts": {}, "folder": "/home/monitor", "waiting": None, "now": 10 * DAY}
    return watch_page(windows, decisions or [], **{**given, **changes})


def year(windows: int) -> list[dict[str, Any]]:
    return [facts(number=n, since=n * DAY, until=(n + 1) * DAY, quality=measured(0.8)) for n in range(1, windows + 1)]


UNTESTED = {"alarm": False, "level": 0.001, "p_value": None, "tests": [], "note": "too few rows to test"}


def test_before_the_first_window_it_says_so() -> None:
    told = page([], waiting="17 answers since the last window")
    assert "NOT YET" in told and "17 answers since the last window" in told and "<svg" not in told


@pytest.mark.parametrize(
    ("last", "action", "word"),
    [
        (facts(), "nothing", "QUIET"),
        (facts(drift=UNTESTED), "nothing", "NOT TESTED"),
        (drifting(), "nothing", "DRIFT"),
        (drifting(), "retrain", "RETRAIN"),
        (facts(quality=measured(0.6)), "wait", "LOSS"),
    ],
)
def test_the_word_above_all_says_how_things_stand(last: dict[str, Any], action: str, word: str) -> None:
    told = page([last], [decision(window=last["id"], action=action)])
    assert f"<strong>{word}</strong>" in told and "Nothing has changed." in told


def test_what_was_not_tested_is_not_called_quiet() -> None:
    told = page([facts(drift=UNTESTED)])
    assert "Not tested: too few rows to test." in told and "No alarm" not in told and "QUIET" not in told


def test_it_shows_plots_and_every_window_with_its_decision() -> None:
    windows = year(5)
    told = page(windows, [decision(window=one["id"], time=one["until"]) for one in windows])
    assert told.count('<svg class="plot"') == 4
    assert all(f"1970-01-0{2 + n}" in told for n in range(1, 6))


@pytest.mark.parametrize("quality", [None, measured(0.8)])
def test_the_estimate_never_stands_without_its_assumption(quality: dict[str, Any] | None) -> None:
    told = page([facts(estimate=estimated(0.81), quality=quality)])
    assert f"0.760 to 0.860, {IN_SHORT}</dd>" in told and f"own confidence, right {IN_SHORT}" in told
    assert f"{IN_SHORT}</dd>" not in page([facts()])


def test_answers_that_came_late_are_told_and_windows_from_before_they_were_counted_still_shown() -> None:
    assert "17 answers of the window before came in after it was judged" in page([facts(late=17)])
    old = facts()
    del old["late"]
    assert "came in after" not in page([old]) + page([facts()])


def test_every_string_of_a_stranger_is_escaped() -> None:
    evil = "<script>alert(1)</script>"
    words = [{"word": evil, "now": 0.2, "before": 0.0, "score": 4.0, "new": True}]
    last = drifting(
        explanation={"words": words, "rows": ["r1"], "slices": [{"by": evil, "name": evil, "now": 0.2, "before": 0.1, "score": 4.0}]}
    )
    told = page([last], [decision(window=last["id"], because=evil)], texts={"r1": evil}, waiting=evil, about={"name": evil, "title": evil})
    assert "<script" not in told and "&lt;script&gt;" in told


def test_it_loads_nothing_and_the_same_record_gives_the_same_bytes() -> None:
    told = page(year(3))
    assert told == page(year(3))
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//|@import|url\(["']?http""", told)


def test_a_text_that_the_log_no_longer_holds_is_not_shown() -> None:
    last = drifting(explanation={"words": [], "rows": ["r1", "r2"], "slices": []})
    told = page([last], texts={"r2": "my pot is gone"})
    assert "my pot is gone" in told and told.count("<tr><td>my pot") == 1


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "–"), (0.5, "0.5"), (0.000137, "0.00014"), (0.000068, "0.000068"), (1e-9, "&lt; 0.000001")]
)
def test_p_values_keep_two_digits_that_count(value: float | None, shown: str) -> None:
    assert p_value(value) == shown.replace("&lt;", "<")
