"""A process that raises alerts and tries to start a retraining for each, as a worker would: python -m tests.unit.monitoring.burst URL SEED.

Its alerts are the same hundred that its neighbours raise, in an order of its own, with event times from a clock that is wrong by days.
Prints a line for each claim that it was granted.
"""

import random
import sys

from sqlalchemy import Engine

from evergreen.monitoring.log import database
from evergreen.monitoring.loop import alerts, loop_tables, slot
from evergreen.monitoring.loop.lease import kept
from tests.alert_factories import LIVE
from tests.policy_factories import settings

ALERTS = 100
DAY = 86_400.0


def main(url: str, seed: int) -> None:
    chance = random.Random(seed)
    skew = chance.uniform(-3, 3) * DAY
    engine = database.connect(url)
    loop_tables.prepare(engine)
    print("ready", flush=True)
    sys.stdin.readline()
    for number in chance.sample(range(ALERTS), ALERTS):
        late = chance.choice((0.0, 0.0, chance.uniform(0, 10 * 60)))
        about = None if number % 10 == 0 else "0" * 12 if number % 10 == 1 else LIVE
        alert, _ = alerts.raise_alert(
            engine,
            source="http",
            trigger="burst",
            because=f"alert {number}",
            model_version=about,
            key=str(number),
            time=clock(engine) + skew - late,
        )
        answer = slot.claim(engine, alert.id, holder=f"{seed}/{number}", live=LIVE, settings=settings())
        if isinstance(answer, slot.Claim):
            with kept(engine, answer):
                print(f"claimed {answer.id}", flush=True)
            assert slot.finish(engine, answer, "finished")
    engine.dispose()


def clock(engine: Engine) -> float:
    with engine.connect() as connection:
        return loop_tables.clock(connection)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
