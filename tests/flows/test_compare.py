"""`evergreen compare` on small logs."""

import json
from datetime import UTC, datetime

import pytest

from flows.__main__ import main
from flows.commands.compare import moment
from tests.trial_factories import answer, label, log_of, shadow_rows

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def better(folder) -> str:
    rows = [item for place in range(60) for item in shadow_rows(place, "loan", "card", "card")]
    rows += [item for place in range(60, 100) for item in shadow_rows(place, "card", "card", "card")]
    return log_of(folder, rows)


def test_the_table_and_the_verdict_are_printed(tmp_path, capsys) -> None:
    main(["compare", "--log", better(tmp_path)])
    said = capsys.readouterr().out
    assert "Shadow  new against old" in said and "Verdict  better: the challenger is right more often, by +60.0 points" in said
    assert "100.0%" in said and "40.0%" in said and "as often as one likes" in said


def test_json_is_the_whole_comparison(tmp_path, capsys) -> None:
    main(["compare", "--json", "--margin", "0.02", "--log", better(tmp_path)])
    content = json.loads(capsys.readouterr().out)
    assert content["verdict"] == "better" and content["wins"] == 60 and content["margin"] == 0.02
    assert content["sentence"].startswith("better: ") and content["notes"] == []


def test_a_canary_is_shown_with_its_doubts(tmp_path, capsys) -> None:
    champions = [answer("champion", "old", place=place) for place in range(40)]
    canaries = [answer("canary", "new", place=place, key_id=f"k{place % 2}") for place in range(40)]
    main(["compare", "--log", log_of(tmp_path, [*champions, *canaries, label(canaries[0].request_id, "card")])])
    said = capsys.readouterr().out
    assert "Canary  new against old" in said and "API keys" in said and "2 API keys only" in said
    assert "Verdict  not yet: " in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--log", "sqlite:////nowhere/traffic.sqlite"], "there is no request log at /nowhere/traffic.sqlite"),
        (["--log", "mysql://somewhere/x"], "sqlite"),
    ],
)
def test_a_log_that_cannot_be_read_is_one_message(arguments, words, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["compare", *arguments])
    assert words in capsys.readouterr().err


def test_a_log_without_a_challenger_says_how_to_start_one(tmp_path, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["compare", "--log", log_of(tmp_path, [answer("champion", "old")])])
    assert "evergreen shadow BENTO" in capsys.readouterr().err


def test_a_file_that_is_no_log_is_one_message(tmp_path, capsys) -> None:
    (tmp_path / "x.sqlite").write_text("not a database, but long enough to be looked at as one by whoever opens it " * 9)
    with pytest.raises(SystemExit):
        main(["compare", "--log", f"sqlite:///{tmp_path / 'x.sqlite'}"])
    assert "the request log cannot be read" in capsys.readouterr().err


def test_a_comparison_makes_no_file(tmp_path) -> None:
    with pytest.raises(SystemExit):
        main(["compare", "--log", f"sqlite:///{tmp_path / 'none.sqlite'}"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("word", "seconds"), [("12h", 12 * 3600), ("7d", 7 * 86_400), ("30m", 1800), ("2w", 14 * 86_400), ("2026-11-23T11:00+00:00", 3600)]
)
def test_times_are_dates_or_how_long_ago(word, seconds) -> None:
    assert moment(word, NOW) == NOW.timestamp() - seconds


@pytest.mark.parametrize("arguments", [["--since", "yesterday"], ["--margin", "2"], ["--margin", "two"], ["--mode", "both"]])
def test_options_that_mean_nothing_are_refused(arguments, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["compare", *arguments])
    assert arguments[0] in capsys.readouterr().err
