"""`evergreen alerts` shows who asked for a retraining, and what became of it."""

from pathlib import Path

import pytest

from evergreen.monitoring.loop import slot
from flows.__main__ import main
from tests.alert_factories import claimed, holding, loop, raised
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


def test_a_person_closes_an_alert_and_it_stays_closed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    firing = {"source": "http", "key": "c0ffee", "lasting": True}
    with loop(sqlite(project)) as engine:
        alert = raised(engine, **firing)
        main(["alerts", "close", alert.id[:6], "--who", "Ada", "--why", "a test of ours"])
        assert raised(engine, **firing, now=NOW * 2).state == "closed"
        refusal = claimed(engine, alert)
        assert isinstance(refusal, slot.Refusal) and (refusal.reason, refusal.because) == (
            "closed",
            f"alert {alert.id} is closed by Ada: a test of ours",
        )
    assert f"alert {alert.id} is closed" in capsys.readouterr().out
    assert shown(capsys)[1].endswith("drift; closed by Ada: a test of ours")
    with pytest.raises(SystemExit):
        main(["alerts", "close", alert.id, "--why", "again"])
    assert "is not open: it is closed" in capsys.readouterr().err


def test_an_alert_that_is_being_answered_is_not_closed_and_an_unknown_one_is_told(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with loop(sqlite(project)) as engine:
        alert = raised(engine)
        holding(engine, alert)
        for name, words in ((alert.id, "is not open: it is taken by retraining"), ("xyz", "no alert has an id that begins with 'xyz'")):
            with pytest.raises(SystemExit):
                main(["alerts", "close", name, "--why", "words"])
            assert words in " ".join(capsys.readouterr().err.split())


def test_without_alerts_it_says_so(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys) == ["No alert has been raised yet."]
    assert shown(capsys, "--open") == ["No alert is open."]
