"""The API keeps its own description: schemathesis reads /openapi.json and sends what it allows, and what it does not."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evergreen.access import PERMISSIONS, KeyFile
from tests.live_factories import live_service, served
from tests.release_factories import bento_folder

# A text of nothing but control characters fits the description, as JSON Schema has no words for what cleaning leaves of a text; 400 is
# then the right answer. Every other check is on.
EXCEPT = "positive_data_acceptance"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Return where the service is, and a key to it."""
    folder = tmp_path_factory.mktemp("described")
    _, key = KeyFile(folder / "keys.json").create("schemathesis", PERMISSIONS)
    with served(live_service(bento_folder(folder / "bento"), folder / "keys.json").app) as url:
        yield url, key


def run(address: tuple[str, str], folder: Path, *given: str) -> None:
    url, key = address
    # A process of its own, with settings of its own: what it imports must not meet this suite's rule that warnings are errors.
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", "--header", f"Authorization: Bearer {key}"]
    fixed = ["--exclude-checks", EXCEPT, "--generation-database", "none", "--seed", "17", "--no-color"]
    environment = os.environ | {"PYTHONPATH": "", "NO_COLOR": "1"}
    ended = subprocess.run(
        [*command, *fixed, *given], cwd=folder, env=environment, capture_output=True, text=True, timeout=1500, check=False
    )
    assert ended.returncode == 0, (ended.stdout + ended.stderr)[-8000:]
    assert "Operations:       " in ended.stdout and " 0 selected" not in ended.stdout


def test_every_route_answers_as_described(address: tuple[str, str], tmp_path: Path) -> None:
    run(address, tmp_path, "--phases", "examples,coverage,fuzzing", "--max-examples", "20")


@pytest.mark.long
@pytest.mark.timeout(1600)
def test_every_route_answers_as_described_at_length(address: tuple[str, str], tmp_path: Path) -> None:
    run(address, tmp_path, "--max-examples", "1000")
