"""`evergreen ledger`, `who-was-live` and `versions`, as a person would use them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from evergreen.release.ledger import Ledger
from evergreen.release.registry import Registry
from evergreen.release.signing import create_key
from flows.__main__ import main
from flows.releasing import ledger as module
from flows.releasing import settle
from tests.project_factories import git
from tests.registry_factories import candidate, checkout, repository

NOVEMBER = 1_793_491_200.0  # 2026-11-01 00:00 UTC
DAY = 86_400.0


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in whose folder commands are given, with a state of its own."""
    monkeypatch.setattr(module, "SIGNING", tmp_path / "signing")
    monkeypatch.setattr(module, "TRUSTED", tmp_path / "trusted")
    monkeypatch.setattr(module, "MEMORY", tmp_path / "signing" / "ledger.json")
    monkeypatch.setattr(settle, "HOME", tmp_path / "home")
    monkeypatch.setattr(settle, "STATE", tmp_path / "home" / "release")
    root = repository(tmp_path / "project")
    monkeypatch.chdir(root)
    return root


def history(root: Path) -> Ledger:
    """Two versions live one after the other, and a candidate that was held."""
    ledger = module.opened(root)
    for number in range(2):
        made = candidate(ledger.registry, number)
        told = {"model_version": f"model{number}", "commit": made}
        ledger.append("candidate", who="retrain", why="drift", lands=made, **told)
        ledger.append("verdict", who="gate", why="keeps all rules", facts={"verdict": "PROMOTE"}, **told)
        version = ledger.registry.register(made, model_version=f"model{number}")
        ledger.registry.assign(version)
        facts = {"since": NOVEMBER + 2 * number * DAY}
        ledger.append("promotion", who="Ada", why=f"better {number}", version=version.name, facts=facts, **told)
    held = candidate(ledger.registry, 9)
    ledger.append("candidate", who="retrain", why="schedule", commit=held, model_version="model9", lands=held)
    ledger.append("verdict", who="gate", why="worst group too low", commit=held, model_version="model9", facts={"verdict": "HOLD"})
    return ledger


def failed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit):
        main(list(words))
    return " ".join(capsys.readouterr().err.split())


def test_who_was_live_is_told_for_a_moment_in_words_and_as_json(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history(project)
    before = checkout(project)
    main(["who-was-live", "--at", "2026-11-02T00:00Z"])
    said = capsys.readouterr().out
    assert "v1.0.0 model model0" in " ".join(said.split())
    assert "promotion by Ada: better 0 (line 3 of the ledger)" in " ".join(said.split())
    main(["who-was-live", "--at", "2026-11-04T00:00Z", "--json"])
    assert json.loads(capsys.readouterr().out)["version"] == "v1.1.0"
    assert "nothing was live" in failed(capsys, "who-was-live", "--at", "2026-10-31T00:00Z")
    assert checkout(project) == before


def test_the_ledger_is_shown_and_found_sound(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history(project)
    main(["ledger", "show", "--last", "3"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["#", "6", "7", "8"]
    main(["ledger", "show", "--json"])
    assert [json.loads(line)["number"] for line in capsys.readouterr().out.splitlines()] == list(range(1, 9))
    main(["ledger", "verify"])
    assert "8 lines, each following the one before and signed by a trusted key (signing/ledger)" in capsys.readouterr().out


def test_versions_are_listed_with_what_became_of_them(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history(project)
    main(["versions"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[:2] for row in rows[1:4]] == [["v1.0.0", "model0"], ["v1.1.0", "model1"], ["-", "model9"]]
    main(["versions", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert [(row["version"], row["live"], row["verdict"]) for row in told["versions"]] == [
        ("v1.0.0", False, "PROMOTE"),
        ("v1.1.0", True, "PROMOTE"),
    ]
    assert [(row["model_version"], row["verdict"]) for row in told["candidates"]] == [("model9", "HOLD")]


def test_lines_cut_off_the_end_are_missed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = history(project)
    head = ledger.registry.head()
    git(project, "-c", "core.hooksPath=/dev/null", "update-ref", "refs/heads/evergreen/models", f"{head}~2")
    assert "line 8: it was written here, but is gone; the ledger ends at line" in failed(capsys, "ledger", "verify")


def test_tags_that_say_another_version_is_live_are_named(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    registry = history(project).registry
    main(["ledger", "verify"])
    assert "the tags agree with them" in capsys.readouterr().out
    shutil.rmtree(project / ".git" / "hooks")
    old = registry.find("v1.0.0")
    git(project, "tag", "--force", "--annotate", "--message=x", "model#prod#2", old.commit)
    git(project, "tag", "--annotate", "--message=x", "model#prod#3", old.commit)
    assert registry.live() == old
    said = failed(capsys, "ledger", "verify")
    assert f"tag model#prod#2: it points to {old.commit[:12]}, but line 6 says that v1.1.0 went live" in said
    assert "tag model#prod#3: no line of the ledger tells of it" in said
    assert "git tag -d model#prod#3" in said


def test_a_line_put_in_by_another_key_is_named_unless_that_key_is_trusted(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history(project)
    public = create_key(tmp_path / "theirs", "theirs")
    Ledger(Registry(project), public.with_suffix(".pem")).append("verdict", who="Bob", why="elsewhere")
    assert "line 9: it was not signed by a key that is trusted here" in failed(capsys, "ledger", "verify")
    main(["ledger", "verify", "--key", str(public)])
    assert "9 lines" in capsys.readouterr().out


def test_a_key_is_made_once_and_kept(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["ledger", "init"])
    assert "signs the ledger from now on" in capsys.readouterr().out
    secret = (module.SIGNING / "ledger.pem").read_bytes()
    main(["ledger", "init"])
    assert "signs the ledger already" in capsys.readouterr().out
    assert (module.SIGNING / "ledger.pem").read_bytes() == secret


@pytest.mark.parametrize("words", [["ledger", "show"], ["versions"], ["who-was-live", "--at", "1h"]])
def test_where_nothing_is_on_record_the_message_says_what_makes_it(
    project: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert "nothing is on record" in failed(capsys, *words)


def test_gto_reads_versions_and_stages(project: Path) -> None:
    history(project)
    hook = project / ".git" / "hooks" / "reference-transaction"
    hook.unlink()
    gto = [str(Path(sys.executable).parent / "gto")]
    shown = subprocess.run([*gto, "show", "model", "--json"], cwd=project, capture_output=True, text=True, check=True).stdout
    assert [row["version"] for row in json.loads(shown)] == ["v1.1.0", "v1.0.0"]
    words = [*gto, "history", "model", "--json"]
    told = json.loads(subprocess.run(words, cwd=project, capture_output=True, text=True, check=True).stdout)
    assert sorted((row["event"], row["version"], row["stage"]) for row in told) == [
        ("assignment", "v1.0.0", "prod"),
        ("assignment", "v1.1.0", "prod"),
        ("registration", "v1.0.0", None),
        ("registration", "v1.1.0", None),
    ]
