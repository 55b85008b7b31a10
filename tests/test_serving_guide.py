"""The operator's guide is true: its commands, settings, metrics and links exist."""

import re
import shlex
from pathlib import Path

import pytest

from evergreen.config import load_params
from flows.__main__ import _parser
from tests.test_deploy import exposed

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "serving.md"
TEXT = GUIDE.read_text(encoding="utf-8")


def commands() -> list[str]:
    """Return every `evergreen ...` of the guide's code blocks, and those of its running text that have arguments or stand alone."""
    blocks = "\n".join(TEXT.split("```")[1::2])
    shown = [found[1] for line in blocks.splitlines() if (found := re.match(r"(?:sudo .*/bin/)?(evergreen [a-z].*)", line))]
    return sorted({shlex.join(shlex.split(line, comments=True)) for line in shown})


@pytest.mark.parametrize("command", commands())
def test_every_command_can_be_given(command: str) -> None:
    assert _parser().parse_args(shlex.split(command)[1:]).run


def test_every_setting_is_one_of_params_yaml() -> None:
    params = load_params(ROOT / "params.yaml")
    for section, name in re.findall(r"`(serve|package)\.([a-z_.]+)`", TEXT):
        found = getattr(params, section)
        for part in name.split("."):
            found = getattr(found, part) if part in type(found).model_fields else pytest.fail(f"{section}.{name} is no setting")


def test_every_metric_is_shown() -> None:
    known = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in exposed()}
    named = set(re.findall(r"`(evergreen_[a-z_]+)`", TEXT))
    assert named and named <= known
    log = re.search(r"`(evergreen_log)_pending_rows`, `(_\w+)`, `(_\w+)`, `(_\w+)`", TEXT)
    assert {log[1] + end for end in log.groups()[1:]} <= known


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert links and [link for link in links if not (GUIDE.parent / link).exists()] == []
