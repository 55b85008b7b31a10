"""`evergreen policy backtest` tells what other settings would have come to, and refuses those that cannot be."""

import json
from pathlib import Path

import pytest

from evergreen.monitoring.log import request_log
from evergreen.monitoring.loop import slot
from evergreen.monitoring.watch import history
from flows.__main__ import main
from tests.alert_factories import holding, loop, raised
from tests.log_factories import sqlite
from tests.policy_factories import NOW, window
from tests.project_factories import ROOT


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the project's params.yaml and a history of three quiet windows and five that drifted."""
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVERGREEN_LOG_URL", sqlite(tmp_path))
    drifted = {"alarm": True, "estimated": 0.1}
    windows = [window(n, labelled=100, **(drifted if n > 3 else {})) for n in range(1, 9)]
    (tmp_path / "other.json").write_text(json.dumps([windows[0], {"id": "a"}]))
    (tmp_path / "windows.json").write_text(json.dumps({"windows": windows, "decisions": []}))
    with loop(sqlite(tmp_path)) as engine:
        request_log.prepare(engine)
        history.prepare(engine)
        for one in windows:
            history.record(engine, one, now=one["until"])
        slot.finish(engine, holding(engine, raised(engine)), "finished", now=NOW + 1800)
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    main(["policy", "backtest", *arguments])
    return capsys.readouterr().out


def row(page: str, name: str) -> list[str]:
    line = next(line for line in page.splitlines() if line.strip().startswith(name))
    return line.strip().removeprefix(name).split("   ")


def test_settings_stand_beside_each_other_with_what_they_cost_and_save(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = printed(capsys, "--set", "persistence=4")
    assert "8 windows, 800 answers" in page and "persistence=4" in page and "Assumed:" in page
    assert [word for word in row(page, "retrainings") if word.strip()] and page.count("0.50 h, 0.03 kWh") == 2
    assert "30 (24 … 36)" in page and "10 (8 … 12)" in page  # retrained after window 5, and after window 7
    assert "drift with an estimated loss of 0.100" in page


def test_json_holds_every_decision(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(capsys, "--json", "--set", "persistence=4"))
    assert [found[name]["retrainings"] for name in ("never", "as it stands", "persistence=4")] == [0, 1, 1]
    assert [step["action"] for step in found["persistence=4"]["steps"]] == ["nothing"] * 6 + ["retrain", "nothing"]
    assert found["as it stands"]["steps"][0]["checks"]


def test_windows_from_a_file_are_decided_upon_as_those_on_record(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "--json", "--windows", "windows.json") == printed(capsys, "--json")
    assert "no retraining is on record" in " ".join(printed(capsys, "--windows", "windows.json").split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "patience=3"], "write NAME=VALUE with one of max_age_days"),
        (["--set", "persistence"], "write NAME=VALUE"),
        (["--set", "persistence=0"], "persistence: Input should be greater than or equal to 1, got 0"),
        (["--set", "persistence=[1"], "is no value as params.yaml has them"),
        (["--windows", "nowhere.json"], "holds no windows"),
        (["--windows", "other.json"], "1 of 2 have not all of drift, id"),
        (["--since", "2099-01-01"], "there is no recorded window"),
    ],
)
def test_what_cannot_be_is_one_message(project: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit):
        main(["policy", "backtest", *arguments])
    assert message in " ".join(capsys.readouterr().err.split())
