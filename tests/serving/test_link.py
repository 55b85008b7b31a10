"""What a front holds of a version: its workers behind their sockets, here made of scripts."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from serving.model import wire
from serving.model.backend import About, NotReady, UnusableText
from serving.model.link import Link
from tests.worker_factories import ABOUT, stage

pytestmark = pytest.mark.anyio


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "v1.0.sock"


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.001)


async def test_answers_go_to_who_asked_whatever_their_order(socket: Path, tmp_path: Path) -> None:
    async with stage(socket) as actors:
        link = Link([socket], tmp_path).start()
        actor = await actors.get()
        first, second = (asyncio.create_task(link.judge([text])) for text in ("a", "b"))
        asked = [await actor.hears(), await actor.hears()]
        for message in reversed(asked):
            actor.answers(message["id"], *message["texts"])
        assert [(await task)[0].text for task in (first, second)] == ["a", "b"]
        assert link.waiting == 0
        await link.close()


async def test_a_link_says_what_its_worker_said(socket: Path, tmp_path: Path) -> None:
    link = Link([socket], tmp_path)
    with pytest.raises(NotReady):
        _ = link.about
    async with stage(socket):
        assert await link.start().ready() == ABOUT == link.about
        assert (link.root, link.connected) == (tmp_path, 1)
        await link.close()


async def test_a_request_waits_for_its_worker_to_come(socket: Path, tmp_path: Path) -> None:
    link = Link([socket], tmp_path, ABOUT).start()
    waits = asyncio.create_task(link.judge(["a"]))
    await until(lambda: link.waiting == 1)
    async with stage(socket) as actors:
        actor = await actors.get()
        message = await actor.hears()
        actor.answers(message["id"], "a")
        assert (await waits)[0].text == "a"
        await link.close()


async def test_what_a_dead_worker_left_is_asked_again_one_at_a_time(socket: Path, tmp_path: Path) -> None:
    async with stage(socket) as actors:
        link = Link([socket], tmp_path).start()
        actor = await actors.get()
        tasks = [asyncio.create_task(link.judge([text])) for text in "abc"]
        for _ in tasks:
            await actor.hears()
        actor.dies()
        successor = await actors.get()
        for expected in "abc":
            message = await successor.hears()
            assert message["texts"] == [expected]
            assert len(link._lanes.copy().pop().asked) == 1
            successor.answers(message["id"], expected)
        assert link.lost == 1
        assert [answer.text for (answer,) in await asyncio.gather(*tasks)] == ["a", "b", "c"]
        await link.close()


async def test_a_request_that_kills_two_workers_is_given_up_and_the_others_are_answered(socket: Path, tmp_path: Path) -> None:
    async with stage(socket) as actors:
        link = Link([socket], tmp_path).start()
        poison = asyncio.create_task(link.judge(["poison"]))
        others = [asyncio.create_task(link.judge([text])) for text in "abcd"]
        deaths, answered = 0, 0
        actor = await actors.get()
        for _ in range(5):
            await actor.hears()
        actor.dies()
        deaths += 1
        while answered < 4:
            actor = await actors.get()
            while answered < 4:
                message = await actor.hears()
                if message["texts"] == ["poison"]:
                    deaths += 1
                    actor.dies()
                    break
                actor.answers(message["id"], *message["texts"])
                answered += 1
        with pytest.raises(NotReady, match="twice"):
            await poison
        assert [answer.text for (answer,) in await asyncio.gather(*others)] == list("abcd")
        assert deaths == 2
        await link.close()


async def test_a_worker_of_another_version_is_refused_and_nobody_waits_for_it(socket: Path, tmp_path: Path) -> None:
    link = Link([socket], tmp_path, About("v2", ("no", "yes"), 0.7)).start()
    waits = asyncio.create_task(link.judge(["a"]))
    await until(lambda: link.waiting == 1)
    async with stage(socket) as actors:
        actor = await actors.get()
        assert await actor.hears() is None
        with pytest.raises(NotReady, match="version v1 where v2 is wanted"):
            await waits
        with pytest.raises(NotReady, match="version v1"):
            await link.judge(["a"])
        assert link.connected == 0
        await link.close()


async def test_the_right_worker_is_taken_after_a_wrong_one(socket: Path, tmp_path: Path) -> None:
    link = Link([socket], tmp_path, ABOUT).start()
    async with stage(socket, About("v0", ("no", "yes"), 0.7)) as actors:
        assert await (await actors.get()).hears() is None
    async with stage(socket):
        async with asyncio.timeout(60):
            assert await link.ready() == ABOUT
        await link.close()


@pytest.mark.parametrize(
    "says",
    [b"\xff\xff\xff\xff", b"\x00\x00\x00\x03abc", wire.frame({"id": 1, "judged": [{}]}), wire.frame({"id": 1, "unusable": "no"})],
    ids=["too long", "not JSON", "half an answer", "no places"],
)
async def test_garbage_ends_the_connection_and_the_request_goes_to_the_next(socket: Path, tmp_path: Path, says: bytes) -> None:
    async with stage(socket) as actors:
        link = Link([socket], tmp_path).start()
        actor = await actors.get()
        task = asyncio.create_task(link.judge(["a"]))
        await actor.hears()
        actor.writer.write(says)
        successor = await actors.get()
        message = await successor.hears()
        successor.answers(message["id"], "a")
        assert (await task)[0].text == "a"
        await link.close()


async def test_a_fault_of_our_own_does_not_end_the_way_to_a_worker(
    socket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(wire, "unusable", lambda message: {}["a secret text"])
    async with stage(socket) as actors:
        link = Link([socket], tmp_path).start()
        actor = await actors.get()
        task = asyncio.create_task(link.judge(["a"]))
        actor.answers((await actor.hears())["id"], "a")
        successor = await actors.get()
        monkeypatch.undo()
        successor.answers((await successor.hears())["id"], "a")
        assert (await task)[0].text == "a"
        assert "KeyError while listening" in caplog.text
        assert "secret" not in caplog.text
        await link.close()


async def test_a_cancelled_caller_frees_its_place_and_the_worker_is_told(socket: Path, tmp_path: Path) -> None:
    async with stage(socket) as actors:
        link = Link([socket], tmp_path).start()
        actor = await actors.get()
        task = asyncio.create_task(link.judge(["a", "b"]))
        asked = await actor.hears()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert link.waiting == 0
        assert await actor.hears() == {"id": asked["id"], "cancel": True}
        actor.answers(asked["id"], "a", "b")  # too late: nobody is harmed
        again = asyncio.create_task(link.judge(["c"]))
        actor.answers((await actor.hears())["id"], "c")
        assert (await again)[0].text == "c"
        await link.close()


async def test_a_caller_who_leaves_while_there_is_no_worker_is_forgotten(socket: Path, tmp_path: Path) -> None:
    link = Link([socket], tmp_path, ABOUT).start()
    task = asyncio.create_task(link.judge(["a"]))
    await until(lambda: link.waiting == 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert link.waiting == 0
    await link.close()


async def test_two_workers_share_the_texts(tmp_path: Path) -> None:
    paths = [tmp_path / f"v1.{number}.sock" for number in range(2)]
    async with stage(paths[0]) as first, stage(paths[1]) as second:
        link = Link(paths, tmp_path).start()
        actors = [await first.get(), await second.get()]
        await until(lambda: link.connected == 2)
        tasks = [asyncio.create_task(link.judge([text])) for text in "ab"]
        for actor in actors:
            message = await actor.hears()
            actor.answers(message["id"], *message["texts"])
        assert {answer.text for (answer,) in await asyncio.gather(*tasks)} == {"a", "b"}
        await link.close()


async def test_a_draining_worker_is_asked_nothing_new_and_let_go_when_it_is_done(tmp_path: Path) -> None:
    paths = [tmp_path / f"v1.{number}.sock" for number in range(2)]
    async with stage(paths[0]) as first:
        link = Link(paths, tmp_path).start()
        old = await first.get()
        task = asyncio.create_task(link.judge(["a"]))
        asked = await old.hears()
        old.says({"draining": True})
        await until(lambda: link.connected == 0)
        async with stage(paths[1]) as second:
            young = await second.get()
            later = asyncio.create_task(link.judge(["b"]))
            message = await young.hears()
            young.answers(message["id"], "b")
            assert (await later)[0].text == "b"
            old.answers(asked["id"], "a")
            assert (await task)[0].text == "a"
            assert await old.hears() is None
            assert link.lost == 0
            await link.close()


async def test_faults_of_a_request_reach_its_caller(socket: Path, tmp_path: Path) -> None:
    async with stage(socket) as actors:
        link = Link([socket], tmp_path).start()
        actor = await actors.get()
        for reply, fault in (({"unusable": [1]}, UnusableText), ({"error": "MemoryError"}, RuntimeError)):
            task = asyncio.create_task(link.judge(["a", "b"]))
            actor.says({"id": (await actor.hears())["id"], **reply})
            with pytest.raises(fault):
                await task
        await link.close()


async def test_closing_tells_whoever_waits(socket: Path, tmp_path: Path) -> None:
    async with stage(socket) as actors:
        link = Link([socket], tmp_path).start()
        actor = await actors.get()
        task = asyncio.create_task(link.judge(["a"]))
        await actor.hears()
        await link.close()
        with pytest.raises(NotReady):
            await task
        with pytest.raises(NotReady):
            await link.judge(["a"])


def test_a_connection_that_has_just_broken_is_asked_nothing(socket: Path, tmp_path: Path) -> None:
    """Under uvloop, as in the front: there a write to a connection that is gone is an error at once."""

    async def story() -> str:
        async with stage(socket) as actors:
            link = Link([socket], tmp_path, ABOUT).start()
            await actors.get()
            await until(lambda: link.connected == 1)
            (broken,) = link._lanes
            broken.writer.transport.abort()
            asked = asyncio.create_task(link.judge(["a"]))
            second = await actors.get()
            message = await second.hears()
            second.answers(message["id"], "a")
            answered = (await asked)[0].text
            await link.close()
            return answered

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(story()) == "a"
