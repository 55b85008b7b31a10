"""Asynchronous tests run on asyncio: `pytestmark = pytest.mark.anyio` at the head of a module."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
