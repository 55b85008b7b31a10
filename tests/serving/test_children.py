import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from evergreen.processes import die_with_parent
from serving.machine.children import Child, ChildError, launch

READY_THEN_WAIT = "import time\nprint('ready', flush=True)\nprint('at work', flush=True)\ntime.sleep(600)"


def child(script: str, said: list[str], folder: Path) -> Child:
    async def start() -> asyncio.subprocess.Process:
        return await launch([sys.executable, "-c", script], cwd=folder, env=dict(os.environ), preexec=die_with_parent)

    return Child("the child", start, said.append)


async def until(met: object, seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not met():  # type: ignore[operator]
            await asyncio.sleep(0.01)


def test_a_child_is_waited_for_until_it_is_ready_and_what_it_says_then_is_passed_on(tmp_path: Path) -> None:
    async def story() -> list[str]:
        said: list[str] = []
        one = child(READY_THEN_WAIT, said, tmp_path)
        await one.start(30)
        assert one.ready.is_set()
        assert one.pid
        await until(lambda: said)
        await one.stop()
        assert one.pid is None
        return said

    assert asyncio.run(story()) == ["the child: at work"]


def test_a_child_that_ends_before_it_is_ready_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    async def story() -> None:
        one = child("import sys; sys.exit('the golden answers differ')", [], tmp_path)
        with pytest.raises(ChildError, match=r"ended before it was ready \(status 1\); it said: the golden answers differ"):
            await one.start(30)
        assert one.pid is None

    asyncio.run(story())


def test_a_child_that_is_never_ready_is_ended(tmp_path: Path) -> None:
    async def story() -> None:
        one = child("import time\nprint('still thinking', flush=True)\ntime.sleep(600)", [], tmp_path)
        with pytest.raises(ChildError, match="was not ready after 1 s"):
            await one.start(1)
        assert one.pid is None

    asyncio.run(story())


def test_a_killed_child_comes_back_and_is_counted(tmp_path: Path) -> None:
    async def story() -> None:
        said: list[str] = []
        one = child(READY_THEN_WAIT, said, tmp_path)
        await one.start(30)
        for times in (1, 2):
            before = one.pid
            assert before
            os.kill(before, signal.SIGKILL)
            await until(lambda: one.restarts == times and one.ready.is_set())  # noqa: B023
            assert one.pid != before
        await one.stop()
        assert "had died (killed by SIGKILL) and is ready again" in " ".join(said)

    asyncio.run(story())


def test_a_child_that_is_told_to_end_stays_ended_even_while_it_is_being_started_again(tmp_path: Path) -> None:
    (tmp_path / "first").touch()
    ready_once = "if os.path.exists('first'):\n    os.remove('first')\n    print('ready', flush=True)\n"
    script = f"import os, time\n{ready_once}time.sleep(600)"

    async def story() -> None:
        one = child(script, [], tmp_path)
        await one.start(30)
        assert one.pid
        before = one.pid
        os.kill(before, signal.SIGKILL)
        await until(lambda: one.pid not in (None, before))
        await one.stop()
        assert one.pid is None

    asyncio.run(story())


def test_a_child_that_ignores_a_polite_end_is_killed(tmp_path: Path) -> None:
    script = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready', flush=True)\ntime.sleep(600)"

    async def story() -> None:
        one = child(script, [], tmp_path)
        await one.start(30)
        await one.stop(grace=0.2)
        assert one.pid is None

    asyncio.run(story())


def test_a_line_longer_than_the_pipe_does_not_stop_the_listening(tmp_path: Path) -> None:
    script = "import time\nprint('ready', flush=True)\nprint('x' * 300_000)\nprint('after', flush=True)\ntime.sleep(600)"

    async def story() -> list[str]:
        said: list[str] = []
        one = child(script, said, tmp_path)
        await one.start(30)
        await until(lambda: said and said[-1] == "the child: after")
        await one.stop()
        return said

    assert sum(line.count("x") for line in asyncio.run(story())) == 300_000


def test_a_child_that_hangs_is_killed_and_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.machine.children.PULSE", 0.05)
    hanging = True

    async def pulse() -> None:
        if hanging:
            await asyncio.sleep(600)

    async def story() -> list[str]:
        nonlocal hanging
        said: list[str] = []
        one = child("import time\nprint('ready', flush=True)\ntime.sleep(600)", said, tmp_path)
        one._pulse = pulse
        await one.start(30)
        await until(lambda: one.restarts)
        hanging = False
        await until(one.ready.is_set)
        await one.stop()
        return said

    assert any("has not answered" in line for line in asyncio.run(story()))
