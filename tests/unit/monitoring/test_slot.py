"""One retraining at a time, one in each cooldown, and never one lost: the slot's promises."""

import pytest
from sqlalchemy.exc import IntegrityError

from evergreen.monitoring.loop import alerts, slot
from evergreen.monitoring.loop.loop_tables import retrainings
from evergreen.monitoring.policy import DAY, HOUR
from tests.alert_factories import LIVE, claimed, holding, loop, raised, state
from tests.policy_factories import NOW, settings
from tests.unit.monitoring.test_request_log import all_at_once


def reason(answer: slot.Claim | slot.Refusal) -> str:
    assert isinstance(answer, slot.Refusal), answer
    return answer.reason


def test_of_many_who_claim_at_once_one_gets_it_with_every_alert(url: str) -> None:
    with loop(url) as engine:
        told = [raised(engine, window=f"w{number}") for number in range(4)]
        answers: list[slot.Claim | slot.Refusal] = []
        claims = [lambda number=number: answers.append(claimed(engine, told[number % 4], holder=f"h{number}")) for number in range(12)]
        assert all_at_once(*claims) == []
        [claim] = [answer for answer in answers if isinstance(answer, slot.Claim)]
        assert {*claim.alerts} == {alert.id for alert in told} and len(slot.retrainings(engine)) == 1
        assert {reason(answer) for answer in answers if answer is not claim} == {"taken"}


def test_the_database_itself_refuses_a_second_one_that_runs(url: str) -> None:
    with loop(url) as engine:
        holding(engine, raised(engine))
        [first] = slot.retrainings(engine)
        with pytest.raises(IntegrityError), engine.begin() as connection:
            row = {name: getattr(first, name) for name in first.__slots__}
            connection.execute(retrainings.insert().values({**row, "id": "other", "slot": 1}))


def test_asked_again_by_the_same_holder_the_answer_is_the_same_claim(url: str) -> None:
    with loop(url) as engine:
        alert = raised(engine)
        assert holding(engine, alert) == holding(engine, alert, now=NOW + 5)
        assert reason(claimed(engine, alert, holder="h2")) == "taken"


def test_cooldown_and_budget_hold_and_a_person_overrides_them(url: str) -> None:
    rules = settings(cooldown_hours=1, budget=2)
    with loop(url) as engine:
        for hour in (0, 1):
            alert = raised(engine, window=f"w{hour}", now=NOW + hour * HOUR)
            slot.finish(engine, holding(engine, alert, now=NOW + hour * HOUR, settings=rules), "finished", now=NOW + hour * HOUR + 60)
        third = raised(engine, window="w3", now=NOW + 1.5 * HOUR)
        refusal = claimed(engine, third, now=NOW + 1.5 * HOUR, settings=rules)
        assert reason(refusal) == "budget" and "began less than 1 hours ago" in refusal.because
        assert refusal.until == NOW + 30 * DAY
        assert reason(claimed(engine, third, now=NOW + 3 * HOUR, settings=rules)) == "budget"
        assert isinstance(claimed(engine, third, now=NOW + 3 * HOUR, settings=rules, force=True), slot.Claim)


def test_a_clock_that_is_behind_does_not_break_the_cooldown(url: str) -> None:
    with loop(url) as engine:
        slot.finish(engine, holding(engine, raised(engine)), "finished", now=NOW + 60)
        other = raised(engine, window="w2", now=NOW + 120)
        for skewed in (NOW - 400 * DAY, NOW - 1, NOW + 71 * HOUR):
            assert reason(claimed(engine, other, now=skewed)) == "cooldown"
        assert isinstance(claimed(engine, other, now=NOW + 72 * HOUR), slot.Claim)


def test_an_alert_about_a_model_that_is_no_longer_live_is_stale(url: str) -> None:
    with loop(url) as engine:
        old, other, any_model = raised(engine), raised(engine, window="w2"), raised(engine, model_version=None)
        assert reason(claimed(engine, old, live="0" * 12)) == "stale"
        assert [state(engine, alert) for alert in (old, other, any_model)] == ["stale", "stale", "open"]
        assert isinstance(claimed(engine, any_model, live="0" * 12), slot.Claim)


def test_without_a_live_model_an_alert_about_none_may_be_claimed(url: str) -> None:
    with loop(url) as engine:
        assert holding(engine, raised(engine, trigger="first", model_version=None), live=None).champion is None


def test_a_finished_retraining_closes_its_alerts_and_frees_the_slot(url: str) -> None:
    with loop(url) as engine:
        alert = raised(engine)
        claim = holding(engine, alert)
        assert slot.finish(engine, claim, "finished", {"verdict": "PROMOTE"}, now=NOW + 60)
        [done] = slot.retrainings(engine)
        assert (done.state, done.result, done.ended) == ("finished", {"verdict": "PROMOTE"}, NOW + 60)
        assert state(engine, alert) == "done" and slot.running(engine) is None
        assert not slot.finish(engine, claim, "failed", now=NOW + 61)
        assert reason(claimed(engine, alert, now=NOW + 100 * HOUR)) == "done"


def test_a_holder_without_a_sign_of_life_has_crashed_and_its_alerts_are_open_again(url: str) -> None:
    with loop(url) as engine:
        alert = raised(engine)
        dead = holding(engine, alert)
        assert slot.renew(engine, dead, now=NOW + 50)
        assert slot.sweep(engine, now=NOW + 140) == []
        [crashed] = slot.sweep(engine, now=NOW + 141)
        assert (crashed.id, crashed.state, crashed.result["error"]) == (dead.id, "crashed", "no sign of life for 91 s")
        assert slot.retrainings(engine) == [crashed]
        assert state(engine, alert) == "open"
        assert not slot.renew(engine, dead, now=NOW + 142) and not slot.finish(engine, dead, "finished", now=NOW + 142)
        assert holding(engine, alert, holder="h2", now=NOW + 143).id != dead.id


def test_a_claim_frees_the_slot_of_the_dead_by_itself(url: str) -> None:
    with loop(url) as engine:
        alert = raised(engine)
        dead = holding(engine, alert)
        assert reason(claimed(engine, alert, holder="h2", now=NOW + 90)) == "taken"
        assert holding(engine, alert, holder="h2", now=NOW + 91).id != dead.id


def test_one_crash_after_another_waits_ever_longer_and_is_given_up_in_the_end(url: str) -> None:
    with loop(url) as engine:
        alert, now = raised(engine), NOW
        pauses = []
        for _ in range(alerts.MAX_TRIES):
            found = alerts.find(engine, alert.id)
            assert found is not None
            pauses.append(max(found.not_before - now, 0.0))
            if pauses[-1]:
                assert reason(claimed(engine, alert, now=found.not_before - 1)) == "early"
            now = max(now, found.not_before) + 1
            slot.finish(engine, holding(engine, alert, now=now), "crashed", now=now)
        assert pauses == [0, 0, 60, 120, 240]
        assert state(engine, alert) == "given up" and reason(claimed(engine, alert, now=now + DAY)) == "given up"


def test_a_failed_retraining_is_tried_again_after_its_cooldown(url: str) -> None:
    with loop(url) as engine:
        alert = raised(engine)
        slot.finish(engine, holding(engine, alert), "failed", {"error": "the data was refused"}, now=NOW + 60)
        assert state(engine, alert) == "open"
        assert reason(claimed(engine, alert, now=NOW + 61)) == "cooldown"
        assert isinstance(claimed(engine, alert, now=NOW + 72 * HOUR), slot.Claim)


def test_one_that_a_person_stops_closes_their_alert_opens_the_others_and_counts_for_nothing(url: str) -> None:
    with loop(url) as engine:
        other, theirs = raised(engine), raised(engine, window="w2", source="person")
        claim = holding(engine, theirs)
        assert slot.finish(engine, claim, "stopped", {"error": "Ada ended it"}, closes=[theirs.id], now=NOW + 60)
        assert [state(engine, alert) for alert in (other, theirs)] == ["open", "closed"]
        again = holding(engine, other, now=NOW + 61)
        assert again.alerts == (other.id,)


def test_one_that_is_stopped_for_all_closes_those_too_that_came_while_it_ran(url: str) -> None:
    with loop(url) as engine:
        first = raised(engine)
        claim = holding(engine, first)
        during = raised(engine, window="w2", now=NOW + 30)
        other_model = raised(engine, window="w3", model_version="0" * 12, now=NOW + 30)
        assert slot.finish(engine, claim, "stopped", {"error": "Ada ended it"}, closes="all", now=NOW + 60)
        assert [state(engine, alert) for alert in (first, during, other_model)] == ["closed", "closed", "open"]


def test_an_unknown_alert_is_told_so(url: str) -> None:
    with loop(url) as engine:
        assert slot.claim(engine, "nobody", holder="h", live=LIVE, settings=settings()) == slot.Refusal(
            "unknown", "there is no alert nobody"
        )
