"""An alert is one row however often it is told, waits where it must, and is sent until somebody has claimed it."""

import pytest

from evergreen.monitoring.loop import alerts, slot
from evergreen.monitoring.policy import HOUR
from tests.alert_factories import LIVE, claimed, holding, loop, raised, state
from tests.policy_factories import NOW
from tests.unit.monitoring.test_request_log import all_at_once


def test_doubles_are_one_alert_and_are_counted(url: str) -> None:
    with loop(url) as engine:
        assert all_at_once(*(lambda: raised(engine) for _ in range(6))) == []
        [alert] = alerts.listed(engine)
        assert (alert.told, alert.state, alert.time) == (6, "open", NOW)


@pytest.mark.parametrize("part", ["source", "trigger", "model_version", "reference", "window", "key"])
def test_another_source_trigger_version_reference_window_or_key_is_another_alert(url: str, part: str) -> None:
    with loop(url) as engine:
        assert raised(engine).id != raised(engine, **{part: "http" if part == "source" else "other"}).id


def test_a_clock_that_is_ahead_makes_no_alert_of_the_future(url: str) -> None:
    with loop(url) as engine:
        assert raised(engine, time=NOW + 1e6).time == NOW


def test_what_comes_while_a_retraining_runs_is_taken_by_it(url: str) -> None:
    with loop(url) as engine:
        claim = holding(engine, raised(engine))
        during = raised(engine, window="w2", now=NOW + 60)
        assert (during.state, during.retraining) == ("taken", claim.id)
        assert raised(engine, window="w3", model_version="0" * 12).state == "open"
        assert slot.finish(engine, claim, "finished", now=NOW + 100)
        assert state(engine, during) == "done"


def test_a_late_alert_was_answered_by_the_retraining_since(url: str) -> None:
    with loop(url) as engine:
        claim = holding(engine, raised(engine))
        slot.finish(engine, claim, "finished", now=NOW + 600)
        late = raised(engine, window="w2", time=NOW + 300, now=NOW + 900)
        assert (late.state, late.retraining) == ("done", claim.id)


def test_news_after_a_retraining_waits_for_its_cooldown(url: str) -> None:
    with loop(url) as engine:
        slot.finish(engine, holding(engine, raised(engine)), "finished", now=NOW + 600)
        news = raised(engine, window="w2", now=NOW + 900)
        assert (news.state, news.not_before) == ("open", NOW + 72 * HOUR)
        assert alerts.due(engine, now=NOW + 1000) is None
        sent = alerts.due(engine, now=NOW + 72 * HOUR)
        assert sent is not None and sent.id == news.id


def test_a_clock_that_is_behind_loses_no_alert_once_the_cooldown_is_over(url: str) -> None:
    with loop(url) as engine:
        slot.finish(engine, holding(engine, raised(engine)), "finished", now=NOW + 600)
        assert raised(engine, window="w2", time=0.0, now=NOW + 73 * HOUR).state == "open"


@pytest.mark.parametrize("outcome", ["done", "given up"])
def test_an_alert_that_still_fires_after_its_retraining_opens_again_once_the_cooldown_is_over(url: str, outcome: str) -> None:
    firing = {"source": "http", "key": "c0ffee 1", "time": NOW, "lasting": True}
    with loop(url) as engine:
        first = raised(engine, **firing)
        for _ in range(1 if outcome == "done" else alerts.MAX_TRIES):
            ended = "finished" if outcome == "done" else "crashed"
            slot.finish(engine, holding(engine, first, force=True), ended, now=NOW + 600)
        assert raised(engine, **firing, now=NOW + 72 * HOUR).state == outcome
        again = raised(engine, **firing, now=NOW + 73 * HOUR)
        assert (again.id, again.state, again.tries, again.time) == (first.id, "open", 0, NOW + 73 * HOUR)
        assert isinstance(claimed(engine, again, now=NOW + 73 * HOUR), slot.Claim)


def test_a_copy_that_is_late_by_weeks_opens_nothing_and_news_under_the_same_key_does(url: str) -> None:
    with loop(url) as engine:
        told = {"source": "http", "key": "INC-4711"}
        slot.finish(engine, holding(engine, raised(engine, **told, time=NOW - 5)), "finished", now=NOW + 600)
        assert raised(engine, **told, time=NOW - 5, now=NOW + 900 * HOUR).state == "done"
        assert raised(engine, **told, now=NOW + 900 * HOUR).state == "done"
        assert raised(engine, **told, time=NOW + 899 * HOUR, now=NOW + 900 * HOUR).state == "open"


@pytest.mark.parametrize("told", [{"lasting": True}, {}])
def test_an_alert_about_a_model_that_is_live_again_is_open_again_where_it_is_told(url: str, told: dict) -> None:
    firing = {"source": "http", "key": "c0ffee 1", "time": NOW, **told}
    with loop(url) as engine:
        first = raised(engine, **firing)
        assert alerts.due(engine, now=NOW)
        alerts.told(engine, first)
        for hour in (1, 2):
            assert isinstance(claimed(engine, first, live="0" * 12, now=NOW + hour * HOUR), slot.Refusal)
            assert state(engine, first) == "stale"
            again = raised(engine, **firing, now=NOW + (hour + 0.5) * HOUR)
            assert (again.id, again.state, again.closed, again.news) == (first.id, "open", None, None)
            sent = alerts.due(engine, now=NOW + (hour + 0.5) * HOUR)
            assert sent is not None and sent.emissions == hour + 1  # on its way at once, and no news to people
        assert isinstance(claimed(engine, first, now=NOW + 3 * HOUR), slot.Claim)


def test_one_is_sent_for_all_that_are_open_and_to_one_who_asks(url: str) -> None:
    with loop(url) as engine:
        oldest, *_ = (raised(engine, window=f"w{number}", now=NOW + number) for number in range(5))
        sent: list[alerts.Alert | None] = []
        assert all_at_once(*(lambda: sent.append(alerts.due(engine, now=NOW + 10)) for _ in range(6))) == []
        assert [alert.id for alert in sent if alert] == [oldest.id]


def test_an_alert_that_nobody_claims_is_sent_again_ever_more_rarely(url: str) -> None:
    with loop(url) as engine:
        raised(engine)
        sent = [second for second in range(0, 4000, 10) if alerts.due(engine, now=NOW + second)]
        assert sent == [0, 60, 180, 420, 900, 1800, 2700, 3600]


def test_nothing_is_sent_while_a_retraining_runs_and_at_once_after_it_crashed(url: str) -> None:
    with loop(url) as engine:
        alert = raised(engine)
        assert alerts.due(engine, now=NOW)
        claim = holding(engine, alert)
        raised(engine, window="w2", model_version="0" * 12)
        assert alerts.due(engine, now=NOW + 80) is None
        slot.finish(engine, claim, "crashed", now=NOW + 81)
        sent = alerts.due(engine, now=NOW + 81)
        assert sent is not None and (sent.id, sent.emissions) == (alert.id, 1)


def test_closed_alerts_go_by_age_and_what_waits_or_is_untold_stays(url: str) -> None:
    with loop(url) as engine:
        done = raised(engine)
        slot.finish(engine, holding(engine, done), "finished", now=NOW + 600)
        lost = raised(engine, window="w3", now=NOW + 100 * HOUR)
        for _ in range(alerts.MAX_TRIES):
            claim = holding(engine, lost, now=NOW + 100 * HOUR, force=True)
            slot.finish(engine, claim, "crashed", now=NOW + 100 * HOUR)
        waiting = raised(engine, window="w2", now=NOW + 101 * HOUR)
        alerts.forget(engine, before=NOW + 600)
        assert alerts.find(engine, done.id) is not None
        alerts.forget(engine, before=NOW + 1000 * HOUR)
        assert {alert.id for alert in alerts.listed(engine)} == {lost.id, waiting.id}
        [untold] = alerts.untold(engine, "given up")
        alerts.told(engine, untold)
        alerts.forget(engine, before=NOW + 1000 * HOUR)
        assert [alert.id for alert in alerts.listed(engine)] == [waiting.id]
        assert alerts.standing(engine, LIVE).starts == (NOW,)


def test_what_a_person_closed_is_kept_for_as_long_as_it_is_told(url: str) -> None:
    firing = {"source": "http", "key": "c0ffee 1", "time": NOW, "lasting": True}
    with loop(url) as engine:
        alert = raised(engine, **firing)
        alerts.close(engine, alert.id, "Ada: a test of ours", now=NOW + 60)
        for day in range(1, 30):
            alerts.forget(engine, before=NOW + (day - 8) * 24 * HOUR)
            assert raised(engine, **firing, now=NOW + day * 24 * HOUR).state == "closed"
        alerts.forget(engine, before=NOW + 30 * 24 * HOUR)
        assert alerts.find(engine, alert.id) is None


def test_the_standing_is_what_the_policy_wants_to_know(url: str) -> None:
    with loop(url) as engine:
        assert alerts.standing(engine, LIVE) == alerts.Standing()
        alert = raised(engine)
        raised(engine, model_version="0" * 12)
        assert alerts.standing(engine, LIVE).open_alert == alert.id
        claim = holding(engine, alert)
        assert alerts.standing(engine, LIVE) == alerts.Standing((NOW,), claim.id, None)
        slot.finish(engine, claim, "crashed", now=NOW + 1)
        assert alerts.standing(engine, LIVE) == alerts.Standing((), None, alert.id)


def test_an_alert_put_off_by_the_policy_is_sent_when_it_may_be_claimed(url: str) -> None:
    with loop(url) as engine:
        alert = raised(engine)
        assert alerts.due(engine, now=NOW)
        refusal = claimed(engine, alert, new_labels=199)
        assert isinstance(refusal, slot.Refusal) and refusal.reason == "labels" and refusal.until is not None
        assert alerts.due(engine, now=refusal.until - 1) is None
        assert alerts.due(engine, now=refusal.until)
        assert isinstance(claimed(engine, alert, new_labels=200, now=refusal.until), slot.Claim)


def test_reasons_keep_within_bounds_and_take_any_character(url: str) -> None:
    with loop(url) as engine:
        alert = raised(engine, because="\0" + "x" * 5000, trigger="a\ud800")
        assert alert.because == "\ufffd" + "x" * 1999 and alert.trigger == "a\ufffd"
