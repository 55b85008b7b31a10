"""What a front does where workers are late, gone, or others than they should be."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from serving.machine import fleet as module
from serving.machine.fleet import Fleet, Route, Stop
from serving.machine.front import _begin
from serving.model.backend import NotReady
from serving.model.worker import Worker
from tests.release_factories import bento_folder
from tests.serving_factories import FakeModel


def stop(folder: Path, version: str, root: Path | None = None) -> Stop:
    return Stop(version, root or folder, (folder / f"{version}.sock",))


@asynccontextmanager
async def worker(where: Stop, version: str | None = None) -> AsyncIterator[None]:
    """A worker that answers at a stop while the block lasts."""
    ended, ready = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(Worker(FakeModel(version or where.version)).serve(where.sockets[0], ended, ready.set))
    await ready.wait()
    try:
        yield
    finally:
        ended.set()
        await running


async def until(holds) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.01)


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s")  # short: a socket's address has 107 bytes


def test_a_challenger_that_is_away_keeps_no_champion_from_answering_and_joins_when_it_comes(folder, monkeypatch) -> None:
    monkeypatch.setattr(module, "SECONDS_FOR_CHALLENGER", 0.05)

    async def scene() -> None:
        fleet, old, new = Fleet(), stop(folder, "v1"), stop(folder, "v2")
        async with worker(old):
            await fleet.switch(Route(1, old, new, "shadow"))
            assert fleet.champion.about.version == "v1" and fleet.challenger is None
            async with worker(new):
                await until(lambda: fleet.challenger is not None)
                assert fleet.challenger.model.about.version == "v2"
            await fleet.close()

    asyncio.run(scene())


def test_a_challenger_that_comes_after_its_trial_has_ended_stays_out(folder, monkeypatch) -> None:
    monkeypatch.setattr(module, "SECONDS_FOR_CHALLENGER", 0.05)

    async def scene() -> None:
        fleet, old, new = Fleet(), stop(folder, "v1"), stop(folder, "v2")
        async with worker(old):
            await fleet.switch(Route(1, old, new, "shadow"))
            await fleet.switch(Route(2, old))
            async with worker(new):
                await asyncio.sleep(0.3)  # several tries to connect, were there any
                assert fleet.challenger is None
            await fleet.close()

    asyncio.run(scene())


def test_a_challenger_of_another_version_than_the_route_names_stays_out(folder) -> None:
    async def scene() -> None:
        fleet, old, new = Fleet(), stop(folder, "v1"), stop(folder, "v2")
        async with worker(old), worker(new, "v3"):
            await fleet.switch(Route(1, old, new, "canary", 1.0))
            assert fleet.champion.about.version == "v1" and fleet.challenger is None
            await fleet.close()

    asyncio.run(scene())


def test_a_champion_that_is_away_leaves_the_old_one_in_place(folder, monkeypatch) -> None:
    monkeypatch.setattr(module, "SECONDS_TO_ANSWER", 0.05)

    async def scene() -> None:
        fleet, old, new = Fleet(), stop(folder, "v1"), stop(folder, "v2")
        async with worker(old):
            await fleet.switch(Route(1, old))
            with pytest.raises(NotReady):
                await fleet.switch(Route(2, new))
            assert (fleet.champion.about.version, fleet.generation) == ("v1", 1)
            await fleet.close()

    asyncio.run(scene())


def test_a_front_takes_up_its_first_route_however_late_the_workers_come(folder, monkeypatch) -> None:
    monkeypatch.setattr(module, "SECONDS_TO_ANSWER", 0.05)

    async def scene() -> None:
        root = bento_folder(folder / "bento") / "src"
        fleet, only, said, limits = Fleet(), stop(folder, "v1", root), [], []
        line = SimpleNamespace(write=said.append)
        beginning = asyncio.create_task(_begin(Route(7, only), line, fleet, SimpleNamespace(adopt=limits.append)))
        await until(lambda: said)
        assert b'"refused": 7' in said[0] and fleet.generation == 0
        async with worker(only):
            await beginning
            assert fleet.champion.about.version == "v1" and len(limits) == 1
            assert said[-1] == b'{"switched": 7}\n'
            await fleet.close()

    asyncio.run(scene())


def test_an_overtaken_route_changes_nothing(folder) -> None:
    async def scene() -> None:
        fleet, old, new = Fleet(), stop(folder, "v1"), stop(folder, "v2")
        async with worker(old), worker(new):
            await fleet.switch(Route(2, new))
            await fleet.switch(Route(1, old))
            assert (fleet.champion.about.version, fleet.generation) == ("v2", 2)
            await fleet.close()

    asyncio.run(scene())
