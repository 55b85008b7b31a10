"""The service under load while versions change and processes die: what callers were answered against what is on record."""

import asyncio
import os
import random
import signal
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import sqlalchemy

from tests.postgresql import Server
from tests.release_factories import SETTINGS, bento_folder
from tests.serving.load import Callers, Tally
from tests.serving.running import Running, running

SERVE = SETTINGS["serve"] | {"queue": 512, "connections": 200, "texts_per_second": 1e6, "burst": 1_000_000}
UNHARMED = 400  # requests between two blows
# What a caller may see of a front that was killed while it answered: the connection's end. A refusal or a wrong answer never.
CUT = {"IncompleteReadError", "ConnectionResetError", "BrokenPipeError", "ConnectionRefusedError"}


@pytest.fixture(scope="module")
def bentos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("bentos")
    log = SETTINGS["serve"]["log"] | {"spool_megabytes": 100}
    serve = SERVE | {"log": log}
    return bento_folder(folder / "one", serve=serve), bento_folder(folder / "two", threshold=0.7, serve=serve)


def on_record(home: Path) -> Counter[str]:
    """Return how often each request id stands in the log."""
    with sqlite3.connect(home / "traffic.sqlite") as log:
        return Counter(row[0] for row in log.execute("SELECT request_id FROM answers WHERE role = 'champion'"))


def under_load(service: Running, story: Callable[[Callers], Awaitable[None]]) -> Tally:
    async def tell() -> Tally:
        async with Callers(service.port, keeping=8, fresh=4) as callers:
            await story(callers)
            # Nobody is left waiting for an answer that never comes: everyone is answered once more.
            more = callers.tally.answered + UNHARMED
            await callers.until(lambda tally: tally.answered >= more)
        return callers.tally

    return asyncio.run(tell())


def swap_back_and_forth(service: Running, bentos: tuple[Path, Path], *, rounds: int, requests: int) -> Tally:
    async def story(callers: Callers) -> None:
        for turn in range(1, rounds + 1):
            await asyncio.to_thread(service.ask, "swap", bento=str(bentos[1]))
            await callers.until(lambda tally, to=(2 * turn - 1) / (2 * rounds): tally.answered >= requests * to)
            await asyncio.to_thread(service.ask, "rollback")
            await callers.until(lambda tally, to=2 * turn / (2 * rounds): tally.answered >= requests * to)

    return under_load(service, story)


@pytest.mark.parametrize(("rounds", "requests"), [(3, 1500), pytest.param(20, 20_000, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
def test_swaps_and_rollbacks_under_load_fail_no_request(bentos: tuple[Path, Path], tmp_path: Path, rounds: int, requests: int) -> None:
    with running(tmp_path / "home", str(bentos[0])) as service:
        tally = swap_back_and_forth(service, bentos, rounds=rounds, requests=requests)
        assert service.end() == 0
    assert not tally.failures
    assert tally.answered >= requests
    assert len(tally.versions) == 2
    recorded = on_record(tmp_path / "home")
    assert not set(tally.ids) - recorded.keys()
    assert set(recorded.values()) == {1}


def strike(service: Running, of: str) -> None:
    """Kill one process; the supervisor's whole tree when it is the supervisor's turn, and start it again as a service manager would."""
    if of == "supervisor":
        service.kill()
        service.start("--port", str(service.port))
        return
    live = service.ask("live")
    pids = service.pids("front" if of == "front" else live["champion"])
    if pids:
        os.kill(pids[0], signal.SIGKILL)


@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
def test_whatever_is_killed_under_load_no_answer_is_missing_from_the_log(bentos: tuple[Path, Path], tmp_path: Path, rounds: int) -> None:
    chance = random.Random(17)

    async def story(callers: Callers) -> None:
        for _ in range(rounds):
            for of in chance.sample(["worker", "front", "supervisor"], 3):
                await asyncio.sleep(chance.uniform(0.1, 0.5))
                await asyncio.to_thread(strike, service, of)
                more = callers.tally.answered + UNHARMED
                await callers.until(lambda tally, more=more: tally.answered >= more)

    with running(tmp_path / "home", str(bentos[0])) as service:
        tally = under_load(service, story)
        assert service.end() == 0
    assert set(tally.failures) <= CUT, "\n".join(service.said)
    recorded = on_record(tmp_path / "home")
    assert not set(tally.ids) - recorded.keys()
    assert set(recorded.values()) == {1}


def test_a_killed_worker_costs_no_caller_an_answer(bentos: tuple[Path, Path], tmp_path: Path) -> None:
    async def story(callers: Callers) -> None:
        for _ in range(2):
            await callers.until(lambda tally: tally.answered >= 100)
            await asyncio.to_thread(strike, service, "worker")
            more = callers.tally.answered + UNHARMED
            await callers.until(lambda tally, more=more: tally.answered >= more)

    with running(tmp_path / "home", str(bentos[0])) as service:
        tally = under_load(service, story)
    assert not tally.failures


def test_while_the_database_is_dead_callers_are_answered_and_nothing_is_lost(
    bentos: tuple[Path, Path], tmp_path: Path, postgresql: Server
) -> None:
    url = postgresql.fresh()

    async def story(callers: Callers) -> None:
        await callers.until(lambda tally: tally.answered >= UNHARMED)
        await asyncio.to_thread(postgresql.kill)
        more = callers.tally.answered + UNHARMED
        await callers.until(lambda tally: tally.answered >= more)
        await asyncio.to_thread(strike, service, "front")  # what the dead database did not take is on the journal, not in memory
        await callers.until(lambda tally: tally.answered >= more + UNHARMED)
        postgresql.start()  # here: the server ends with the thread that started it

    with running(tmp_path / "home", str(bentos[0]), EVERGREEN_LOG_URL=url) as service:
        tally = under_load(service, story)
        assert service.end() == 0
    assert set(tally.failures) <= CUT
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as log:
        recorded = Counter(log.execute(sqlalchemy.text("SELECT request_id FROM answers WHERE role = 'champion'")).scalars())
    engine.dispose()
    assert not set(tally.ids) - recorded.keys()
    assert set(recorded.values()) == {1}
