"""When a challenger on trial must not go on."""

import math

import pytest

from evergreen.evaluation.sequential import share
from evergreen.monitoring.trials.comparison import Arm
from evergreen.release.guardrails import ENOUGH, Seen, broken, unheard
from evergreen.sections.loop import Release

LIMITS = Release(
    automatic=True,
    trial="canary",
    trial_minutes=1,
    trial_share=0.1,
    max_error_share=0.01,
    max_latency_ratio=2.0,
    max_person_share=0.15,
    keep_worktrees=False,
)


def arm(answers: int, *, person: int = 0, p50: float = 10.0) -> Arm:
    """Return what is on record of a version."""
    return Arm("one", answers, 1, 0.9, share(person, answers), p50, p50, p50, 0, share(0, 0), {})


def test_nothing_seen_breaks_nothing() -> None:
    assert broken(Seen(None, None, 0), LIMITS) == []
    assert Seen(None, None, 0).report() == {"answers": 0, "failed": 0, "p50_ms": None, "needs_person": None}


def test_an_equal_challenger_breaks_nothing() -> None:
    assert broken(Seen(arm(500, person=50), arm(500, person=50), 0), LIMITS) == []


@pytest.mark.parametrize(("answers", "failed", "breaks"), [(1000, 1, False), (10, 1, False), (0, 6, True), (1000, 60, True)])
def test_failures_break_it_once_they_are_beyond_doubt(answers: int, failed: int, breaks: bool) -> None:
    found = broken(Seen(arm(1000), arm(answers), failed), LIMITS)
    assert bool(found) is breaks
    assert not breaks or "texts were not answered by the challenger" in found[0]


@pytest.mark.parametrize(("answers", "p50", "breaks"), [(ENOUGH, 19.9, False), (ENOUGH, 20.1, True), (ENOUGH - 1, 90.0, False)])
def test_latency_breaks_it_where_there_are_enough_answers(answers: int, p50: float, breaks: bool) -> None:
    found = broken(Seen(arm(1000), arm(answers, p50=p50), 0), LIMITS)
    assert bool(found) is breaks
    assert not breaks or "median latency" in found[0]


@pytest.mark.parametrize(("answers", "person", "breaks"), [(1000, 200, False), (1000, 400, True), (8, 6, False)])
def test_leaving_too_much_to_people_breaks_it_beyond_doubt(answers: int, person: int, breaks: bool) -> None:
    found = broken(Seen(arm(answers, person=answers // 10), arm(answers, person=person), 0), LIMITS)
    assert bool(found) is breaks
    assert not breaks or "to a person" in found[0]


def test_a_champion_that_nobody_asked_is_compared_with_nothing() -> None:
    unasked = arm(0, p50=math.nan)
    assert broken(Seen(unasked, arm(100, person=100), 0), LIMITS) == []


def test_a_challenger_that_nobody_heard_is_named_with_what_it_missed() -> None:
    assert "it answered none of the 1,200 texts that came meanwhile" in unheard(1200)
