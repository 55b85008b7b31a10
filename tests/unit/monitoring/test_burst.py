"""A hundred alerts, doubled, late and skewed, come to exactly one retraining in each cooldown, and none is lost."""

import random
import subprocess
import sys
from itertools import pairwise

import pytest

from evergreen.monitoring.loop import alerts, slot
from evergreen.monitoring.policy import HOUR
from tests.alert_factories import LIVE, loop
from tests.log_factories import PATIENCE
from tests.policy_factories import NOW, settings
from tests.unit.monitoring.burst import ALERTS

PROCESSES = 3


def test_a_burst_from_several_processes_starts_one_retraining(url: str) -> None:
    command = [sys.executable, "-m", "tests.unit.monitoring.burst", url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([*command, str(seed)], **pipes) for seed in range(PROCESSES)]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    told = [process.communicate(timeout=4 * PATIENCE)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * PROCESSES
    assert sum("claimed" in line for lines in told for line in lines.splitlines()) == 1
    with loop(url) as engine:
        [retraining] = slot.retrainings(engine)
        found = alerts.listed(engine, limit=1000)
        assert retraining.state == "finished" and len(found) == ALERTS
        assert all(alert.told == PROCESSES for alert in found)
        for alert in found:
            # Told of a time before the retraining's end: answered. Of a later one: waits for the cooldown. Of a model that is gone: stale.
            if alert.state == "open":
                assert alert.time > retraining.ended and alert.not_before == retraining.cooled
            else:
                assert alert.state == ("stale" if alert.model_version == "0" * 12 else "done")


@pytest.mark.parametrize("seed", range(2))
def test_years_of_disorder_keep_one_retraining_to_a_cooldown_and_lose_no_alert(url: str, seed: int) -> None:
    rules, chance = settings(cooldown_hours=24, budget=100, lease_seconds=90), random.Random(seed)
    now, held, ids = NOW, None, []
    with loop(url) as engine:
        for step in range(300):
            now += chance.expovariate(1 / HOUR)
            if chance.random() < 0.4:
                key = str(chance.randrange(step // 2 + 1))  # often a double
                skewed = now + chance.uniform(-30, 30) * HOUR
                given = {"source": "http", "trigger": "t", "because": "b", "model_version": LIVE, "key": key}
                ids.append(alerts.raise_alert(engine, **given, time=skewed, now=now)[0].id)
            elif held and chance.random() < 0.5:
                outcome = chance.choice(["finished", "finished", "failed", "crashed", None])
                if outcome:
                    slot.finish(engine, held, outcome, now=now)
                held = None  # None: it died without a word
            elif ids:
                answer = slot.claim(engine, chance.choice(ids), holder=str(step), live=LIVE, settings=rules, now=now)
                held = answer if isinstance(answer, slot.Claim) else held
            if held and not slot.renew(engine, held, now=now):
                held = None
            assert sum(one.state == "running" for one in slot.retrainings(engine, limit=1000)) <= 1
        drained(engine, now, rules)
        kept = sorted(one.started for one in slot.retrainings(engine, limit=1000) if one.state != "crashed")
        assert len(kept) > 3 and all(later - earlier >= 24 * HOUR for earlier, later in pairwise(kept))
        states = {alert.state for alert in alerts.listed(engine, limit=1000)}
        assert states <= {"done", "given up"}
        assert all(alert.tries >= alerts.MAX_TRIES for alert in alerts.listed(engine, states=("given up",), limit=1000))


def drained(engine, now: float, rules) -> None:
    """Go on until nothing is open, as the rounds of flows/running/alerting.py do."""
    for turn in range(100):
        now += 12 * HOUR
        slot.sweep(engine, now=now)
        alert = alerts.due(engine, now=now)
        if alert is not None:
            answer = slot.claim(engine, alert.id, holder=f"drain {turn}", live=LIVE, settings=rules, now=now)
            if isinstance(answer, slot.Claim):
                assert slot.finish(engine, answer, "finished", now=now + 60)
    assert alerts.listed(engine, states=("open", "taken")) == []
