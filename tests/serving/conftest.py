"""Asynchronous tests run on asyncio: `pytestmark = pytest.mark.anyio` at the head of a module.

`server` is a real server in a process of its own; `stays_well` holds that it outlives what a test does to it.
"""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.serving.hostile import GROWTH, ROOT, Served
from tests.serving.raw_client import answers


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    said = folder / "said"
    with said.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.serving.served", str(folder)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=out,
        )
    line = process.stdout.readline()
    assert line, said.read_text()
    served = Served(int(line), process, said)
    assert answers(served.port)
    yield served
    process.stdin.close()
    process.stdout.close()
    process.wait(30)


@pytest.fixture
def stays_well(server: Served) -> Iterator[None]:
    """Whatever a test does, memory grows by less than 50 MB, and the next caller is answered."""
    before = server.memory()
    yield
    assert answers(server.port)
    assert server.memory() - before < GROWTH
