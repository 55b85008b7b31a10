"""`evergreen traffic` on small logs."""

from pathlib import Path

import pytest

from evergreen.data.records import read_table
from evergreen.monitoring.log.journal import Journal
from evergreen.monitoring.log.lines import to_line
from flows.__main__ import main
from tests.log_factories import answered, filled, labelled

DAY = 86_400
START = 1_793_491_200.0  # 2026-11-01 00:00 UTC


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a request log, in a folder without params.yaml."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path))
    monkeypatch.delenv("EVERGREEN_LOG_URL", raising=False)
    rows = [answered(f"text {number}", time=START + number * DAY, model_version="one" if number < 2 else "two") for number in range(4)]
    with filled(f"sqlite:///{tmp_path}/traffic.sqlite", [*rows, labelled(rows[0].request_id)]):
        pass
    return tmp_path


def failed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit):
        main(arguments)
    return " ".join(capsys.readouterr().err.split())


def test_a_window_is_exported(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["traffic", "export", "--since", "2026-11-02T00:00+00:00", "--until", "2026-11-04T00:00Z", "--out", "window.parquet"])
    assert read_table(home / "window.parquet")["text"].tolist() == ["text 1", "text 2"]
    said = capsys.readouterr().out
    assert "2 answers from 2026-11-02 00:00 to 2026-11-03 00:00 UTC in window.parquet" in said
    assert "versions one, two" in said


def test_only_the_labelled_are_exported_where_asked(home: Path) -> None:
    main(["traffic", "export", "--labelled", "--out", "labelled.parquet"])
    assert read_table(home / "labelled.parquet")["text"].tolist() == ["text 0"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--since", "2027-01-01"], "holds no such answers since"),
        (["--since", "2026-11-03", "--until", "2026-11-02"], "the window is empty"),
        (["--role", "shadow"], "holds no such answers"),
        (["--since", "yesterday"], "is no time; write 2026-11-01"),
        (["--log", "sqlite:////nowhere/x.sqlite"], "there is no request log at /nowhere/x.sqlite"),
    ],
)
def test_a_window_that_cannot_be_exported_is_one_message_and_no_file(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert words in failed(["traffic", "export", "--out", "out.parquet", *arguments], capsys)
    assert not (home / "out.parquet").exists()


def test_the_status_shows_versions_labels_and_what_is_on_the_way(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = Journal(home / "spool", max_bytes=10**6)
    journal.append([to_line(answered())])
    main(["traffic", "status"])
    said = capsys.readouterr().out
    assert "4 answers on record" in said
    assert [line.split()[:5] for line in said.splitlines() if line.startswith(("  one", "  two"))] == [
        ["one", "champion", "2", "50.0%", "0.0%"],
        ["two", "champion", "2", "0.0%", "0.0%"],
    ]
    assert "on the way   1" in said
    journal.close()


def test_the_status_of_an_empty_log_is_no_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path))
    with filled(f"sqlite:///{tmp_path}/traffic.sqlite", []):
        pass
    main(["traffic", "status"])
    assert "0 answers on record" in capsys.readouterr().out


def test_where_nothing_was_recorded_that_is_said_and_no_file_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path))
    assert "nothing has been answered yet" in failed(["traffic", "status"], capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_database_without_our_tables_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.sqlite").touch()
    assert "holds no request log yet" in failed(["traffic", "status", "--log", f"sqlite:///{tmp_path}/empty.sqlite"], capsys)


def test_prune_keeps_what_it_is_told_to(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--days and --megabytes" in failed(["traffic", "prune"], capsys)
    main(["traffic", "prune", "--days", "100000", "--megabytes", "100"])
    assert "0 answers deleted, 4 kept" in capsys.readouterr().out
    main(["traffic", "prune", "--days", "0", "--megabytes", "100"])
    assert "4 answers deleted, 0 kept" in capsys.readouterr().out
