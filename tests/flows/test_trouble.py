"""A monitor that fails every day is told of every day, and one that fails every minute is no flood."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from evergreen.errors import EvergreenError, MonitorError
from flows import monitor
from flows.looking import trouble
from tests.project_factories import ROOT

DAY = 86_400.0


def look(home: Path, fault: Exception | None, *, root: Path = ROOT) -> list[str]:
    """What people are told of one look."""
    said: list[str] = []
    if fault is None:
        with trouble.told(root, home, say=said.append):
            pass
        return said
    with pytest.raises(type(fault)), trouble.told(root, home, say=said.append):
        raise fault
    return said


def test_a_failure_is_told_once_until_it_works_again_or_becomes_another(tmp_path: Path) -> None:
    gone, full = MonitorError("the reference is gone"), MonitorError("the disk is full")
    assert look(tmp_path, gone) == ["the monitor has failed: the reference is gone"]
    assert look(tmp_path, gone) == []
    assert look(tmp_path, full) == ["the monitor has failed: the disk is full"]
    assert look(tmp_path, None) == look(tmp_path, None) == []
    assert len(look(tmp_path, full)) == 1


def test_failures_that_take_turns_are_each_told_once_and_each_again_after_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(now: float) -> int:
        monkeypatch.setattr(trouble.time, "time", lambda: now)
        return sum(len(look(tmp_path, MonitorError(words))) for words in ("the reference is gone", "the disk is full"))

    assert [told(1e9), told(1e9 + 60), told(1e9 + 120), told(1e9 + DAY), told(1e9 + DAY + 60)] == [2, 0, 0, 2, 0]


@pytest.mark.parametrize("kept", ["", "[]", '{"words": "the disk is full", "time": 1.0}', '{"the disk is full": "today"}'])
def test_a_record_that_cannot_be_read_costs_no_message(kept: str, tmp_path: Path) -> None:
    (tmp_path / "monitor").mkdir()
    (tmp_path / "monitor" / "trouble.json").write_text(kept, encoding="utf-8")
    assert len(look(tmp_path, MonitorError("the disk is full"))) == 1
    assert look(tmp_path, MonitorError("the disk is full")) == []


def test_a_daily_failure_is_told_daily(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    for day in range(3):
        monkeypatch.setattr(trouble.time, "time", lambda day=day: 1e9 + DAY * day - day)
        told += look(tmp_path, MonitorError("the reference is gone"))
    assert len(told) == 3


def test_what_an_unexpected_error_quotes_is_not_sent_around(tmp_path: Path) -> None:
    assert look(tmp_path, ValueError("my card 4111 1111")) == ["the monitor has failed: ValueError; the log of its run says more"]


def test_the_flow_tells_of_its_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(monitor, "HOME", tmp_path)
    monkeypatch.setattr(monitor, "get_run_logger", lambda: SimpleNamespace(info=said.append))
    with pytest.raises(EvergreenError):
        monitor.monitor.fn(tmp_path)
    assert len(said) == 1 and said[0].startswith("the monitor has failed: ")


def test_a_params_file_that_cannot_be_read_is_told_too(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("notify: [", encoding="utf-8")
    assert len(look(tmp_path / "home", MonitorError("params.yaml is broken"), root=tmp_path)) == 1
