"""docs/registry.md is true: its commands and settings exist, and its links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest

from evergreen.config import load_params
from evergreen.release.ledger import EVENTS, Entry
from flows.__main__ import _parser

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "registry.md"
TEXT = GUIDE.read_text(encoding="utf-8")


def commands() -> list[str]:
    """Return every `evergreen ...` of the guide's code blocks."""
    blocks = "\n".join(TEXT.split("```")[1::2])
    return [shlex.join(shlex.split(line, comments=True)) for line in blocks.splitlines() if line.startswith("evergreen ")]


@pytest.mark.parametrize("command", commands())
def test_every_command_can_be_given(command: str) -> None:
    assert _parser().parse_args(shlex.split(command)[1:]).run


def test_every_setting_is_one_of_params_yaml() -> None:
    settings = load_params(ROOT / "params.yaml").release.model_dump()
    named = set(re.findall(r"`release\.([a-z_]+)[`:]", TEXT))
    assert named
    assert named <= set(settings)


def test_the_line_and_its_events_are_those_of_the_ledger() -> None:
    line = re.search(r"A line: `\{(.*?)\}`", TEXT)
    assert line
    assert re.findall(r'"(\w+)"', line[1]) == list(Entry.__dataclass_fields__)
    assert all(event in TEXT for event in EVENTS)
