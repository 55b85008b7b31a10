from pathlib import Path

import pytest

from tests.log_factories import sqlite


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh, empty database of each kind."""
    return sqlite(tmp_path) if request.param == "sqlite" else request.getfixturevalue("postgresql").fresh()
