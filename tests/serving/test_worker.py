"""A model in a process of its own: real workers on the tiny artifact, asked over their sockets."""

import asyncio
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.model import wire
from serving.model.backend import About, NotReady, UnusableText
from serving.model.link import Link
from tests.worker_factories import POISONED, ROOT, bento, worker

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bento(tmp_path_factory.mktemp("bento") / "src")


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "w.sock"


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.001)


async def test_a_worker_answers_as_its_model(root: Path, socket: Path) -> None:
    with worker(root, socket, threads=2):
        link = Link([socket], root).start()
        calls = [link.judge(["card", "savings please"]) for _ in range(50)]
        answers = await asyncio.gather(*calls)
        assert [[link.about.labels[each.probabilities.index(max(each.probabilities))] for each in answer] for answer in answers] == [
            ["card", "savings"]
        ] * 50
        with pytest.raises(UnusableText) as caught:
            await link.judge(["card", "\u200b"])
        assert caught.value.places == (1,)
        await link.close()


async def test_a_worker_killed_in_the_middle_of_a_request_leaves_it_to_its_successor(root: Path, socket: Path) -> None:
    with worker(root, socket) as process:
        link = Link([socket], root).start()
        await link.ready()
        process.send_signal(signal.SIGSTOP)
        task = asyncio.create_task(link.judge(["card"]))
        await until(lambda: link.waiting == 1)
        process.kill()
        process.wait()
    with worker(root, socket):
        (judged,) = await task
        assert judged.text == "card"
        await link.close()


async def test_a_request_that_kills_two_workers_is_refused_and_the_others_are_answered(root: Path, socket: Path) -> None:
    link = Link([socket], root).start()
    poison = asyncio.create_task(link.judge(["poison"]))
    others = [asyncio.create_task(link.judge(["card"])) for _ in range(10)]
    for _ in range(2):
        with worker(root, socket, code=POISONED) as process:
            assert await asyncio.to_thread(process.wait, 60) == -signal.SIGKILL
    with pytest.raises(NotReady, match="twice"):
        await poison
    with worker(root, socket):
        assert [answer.text for (answer,) in await asyncio.gather(*others)] == ["card"] * 10
        await link.close()


async def test_sigterm_answers_what_was_asked_and_ends_with_status_0(root: Path, socket: Path) -> None:
    with worker(root, socket) as process:
        link = Link([socket], root).start()
        await link.ready()
        process.send_signal(signal.SIGSTOP)
        tasks = [asyncio.create_task(link.judge(["card"])) for _ in range(20)]
        await until(lambda: link.waiting == 20)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        assert len(await asyncio.gather(*tasks)) == 20
        assert await asyncio.to_thread(process.wait, 60) == 0
        await link.close()


async def test_a_worker_with_nobody_connected_ends_at_once_on_sigterm(root: Path, socket: Path) -> None:
    with worker(root, socket) as process:
        process.terminate()
        assert process.wait(60) == 0


async def test_a_worker_of_another_version_is_refused(root: Path, socket: Path) -> None:
    with worker(root, socket):
        link = Link([socket], root, About("another", ("a",), 0.5)).start()
        await until(lambda: link._refusal is not None)
        with pytest.raises(NotReady, match="where another is wanted"):
            await link.judge(["card"])
        await link.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">I", 2**31),
        struct.pack(">I", 4) + b"[[[[",
        wire.frame({"texts": ["a"]}),
        wire.frame({"id": 1}),
    ],
    ids=["HTTP", "too long", "not JSON", "no number", "no texts"],
)
async def test_garbage_closes_its_connection_and_no_other(root: Path, socket: Path, garbage: bytes) -> None:
    with worker(root, socket):
        link = Link([socket], root).start()
        await link.ready()
        reader, writer = await asyncio.open_unix_connection(socket)
        assert await wire.read(reader) is not None
        writer.write(garbage)
        async with asyncio.timeout(60):
            assert await reader.read() == b""
        writer.close()
        assert len(await link.judge(["card"])) == 1
        await link.close()


async def test_the_socket_is_for_its_user_alone(root: Path, socket: Path) -> None:
    with worker(root, socket):
        assert socket.stat().st_mode & 0o077 == 0


async def test_a_worker_does_nothing_while_nobody_asks(root: Path, socket: Path) -> None:
    with worker(root, socket, threads=2) as process:

        def cpu() -> int:
            fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            return int(fields[11]) + int(fields[12])

        link = Link([socket], root).start()
        await link.judge(["card"])
        before = cpu()
        await asyncio.sleep(1)
        assert cpu() - before <= 10  # of 100 ticks a second
        await link.close()


async def test_a_worker_dies_with_its_parent(root: Path, socket: Path) -> None:
    command = [sys.executable, "-m", "serving.model.worker", "--root", str(root), "--socket", str(socket), "--threads", "1"]
    script = f"import subprocess, time\nprint(subprocess.Popen({command!r}).pid, flush=True)\ntime.sleep(600)"
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert parent.stdout.readline().startswith("ready ")
        parent.kill()
        parent.wait()
        await until(lambda: not alive(child))
    finally:
        parent.kill()
        parent.communicate()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_a_worker_imports_neither_bentoml_nor_a_web_framework() -> None:
    heavy = {"bentoml", "starlette", "uvicorn", "sqlalchemy", "torch", "pandas", "prometheus_client"}
    script = "import sys, serving.model.worker; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert "onnxruntime" in found
    assert heavy & set(found) == set()
