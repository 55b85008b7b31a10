"""Finding the trial in a request log, and reading its rows."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from sqlalchemy import Connection

from evergreen.errors import LogError
from evergreen.monitoring.log.database import connect
from evergreen.monitoring.trials.trial import arm, asked, find_trial, others, pairs, told
from tests.log_factories import sqlite
from tests.trial_factories import START, answer, label, log_of, shadow_rows

Opened = Callable[[list], AbstractContextManager[Connection]]


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request, tmp_path) -> Iterator[Opened]:
    """Makes a log of rows, on each kind of database, and opens it."""
    engines = []

    @contextmanager
    def make(rows):
        url = sqlite(tmp_path) if request.param == "sqlite" else request.getfixturevalue("postgresql").fresh()
        engines.append(connect(log_of(tmp_path, rows, url)))
        with engines[-1].connect() as connection:
            yield connection

    yield make
    for engine in engines:
        engine.dispose()


def shadow(places=range(10), *, told_at=()):
    return [item for place in places for item in shadow_rows(place, "card", "loan", "card" if place in told_at else None)]


def test_a_shadow_is_found_and_its_answers_are_paired_with_their_label(opened) -> None:
    rows = shadow(told_at={2, 3}) + shadow_rows(4, "card", None)
    with opened(rows) as connection:
        found = find_trial(connection)
        both = list(pairs(connection, found))
        assert (found.mode, found.champion, found.challenger, found.start, found.end) == ("shadow", "old", "new", START, START + 9)
        assert len(both) == 10 and told(connection, found) == 11
        assert {(old.prediction, new.prediction) for old, new in both} == {("card", "loan")}
        assert [old.label for old, _ in both].count("card") == 2
        assert all(old.label == new.label for old, new in both)


def test_the_label_told_last_counts(opened) -> None:
    rows = shadow_rows(0, "card", "loan", "card")
    with opened([*rows, label(rows[0].request_id, "loan", later=90)]) as connection:
        assert [old.label for old, _ in pairs(connection, find_trial(connection))] == ["loan"]


def test_a_canary_is_compared_with_what_the_champion_answered_meanwhile(opened) -> None:
    rows = [answer("champion", "old", place=place) for place in range(20)]
    rows += [answer("canary", "new", "loan", place=place) for place in range(5, 15)]
    rows += [answer("champion", "older", place=6)]
    with opened(rows) as connection:
        found = find_trial(connection)
        assert (found.mode, found.start, found.end) == ("canary", START + 5, START + 14)
        assert len(list(arm(connection, found, challenger=False))) == 10
        assert {row.prediction for row in arm(connection, found, challenger=True)} == {"loan"}
        assert others(connection, found) == 1


def test_the_newest_trial_is_taken_unless_another_is_asked_for(opened) -> None:
    rows = [*shadow(), answer("champion", "old", place=50), answer("canary", "newer", place=51), answer("champion", "old", place=51)]
    with opened(rows) as connection:
        assert find_trial(connection).challenger == "newer"
        assert find_trial(connection, mode="shadow").challenger == find_trial(connection, challenger="new").challenger == "new"
        assert find_trial(connection, mode="shadow", since=START + 3).start == START + 3


def test_a_champion_that_changed_meanwhile_leaves_the_pair_fixed(opened) -> None:
    rows = shadow(range(5))
    for place in range(5, 9):
        first = answer("champion", "promoted", place=place)
        rows += [first, answer("shadow", "new", "loan", place=place, request_id=first.request_id)]
    with opened(rows) as connection:
        assert (find_trial(connection).champion, len(list(pairs(connection, find_trial(connection))))) == ("promoted", 4)
        older = find_trial(connection, champion="old")
        assert len(list(pairs(connection, older))) == 5 and others(connection, older) == 4


@pytest.mark.parametrize(
    ("rows", "asked", "words"),
    [
        ([], {}, "holds no answer of a challenger"),
        ([answer("champion", "old")], {}, "1 answer in all"),
        (shadow(), {"challenger": "unheard"}, "challenger unheard"),
        (shadow(), {"mode": "canary"}, "in canary"),
        (shadow(), {"since": START + 99}, "since then"),
        (shadow(), {"champion": "unheard"}, "champion unheard has answered"),
        ([answer("canary", "new")], {}, "no champion has answered"),
    ],
)
def test_a_log_without_such_a_trial_says_so(opened, rows, asked, words) -> None:
    with opened(rows) as connection, pytest.raises(LogError, match=words):
        find_trial(connection, **asked)


def test_what_callers_were_answered_since_a_moment_is_counted_without_the_shadow(opened) -> None:
    with opened(shadow()) as connection:
        assert (asked(connection, START), asked(connection, START + 4), asked(connection, START + 99)) == (10, 6, 0)
