"""`evergreen alerts` shows who asked for a retraining, and what became of it."""

from pathlib import Path

import pytest

from evergreen.monitoring import slot
from flows.__main__ import main
from tests.alert_factories import holding, loop, raised
from tests.log_factories import sqlite
from tests.policy_factories import NOW
from tests.project_factories import ROOT


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVERGREEN_LOG_URL", sqlite(tmp_path))
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    main(["alerts", *arguments])
    return capsys.readouterr().out.strip().splitlines()


def test_each_alert_stands_with_its_state_and_reason(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with loop(sqlite(project)) as engine:
        raised(engine)
        done = raised(engine)
        slot.finish(engine, holding(engine, done), "finished", now=0.0)
        waiting = raised(engine, source="http", window="w2", because="[bold]a new product line[/bold]", now=NOW + 60)
    head, *rows = shown(capsys)
    assert head.split() == ["alert", "raised", "from", "trigger", "told", "state", "because"]
    assert {row.split()[0] for row in rows} == {done.id, waiting.id}
    assert next(row for row in rows if done.id in row).split()[-4:] == ["drift", "2", "done", "drift"]
    assert next(row for row in rows if waiting.id in row).endswith("[bold]a new product line[/bold]")
    [_, only] = shown(capsys, "--open")
    assert waiting.id in only


def test_without_alerts_it_says_so(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys) == ["No alert has been raised yet."]
    assert shown(capsys, "--open") == ["No alert is open."]
