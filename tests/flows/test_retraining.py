"""A retraining from its alert to its end: one at a time, on record however it ends, and nothing released that the gate holds."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from evergreen.errors import PipelineError, ReleaseError
from evergreen.monitoring.loop import alerts, slot
from evergreen.params_file import edit_params
from evergreen.release.ledger import Ledger
from evergreen.release.registry import Registry
from flows.making import retraining as module
from flows.making.produce import Candidate
from flows.making.retraining import Asked, Outcome, retraining
from flows.making.words import markdown
from flows.pages import rules
from flows.releasing.settle import pending
from flows.steps import plainly
from tests.loop_factories import quickly, wish
from tests.loop_runs import pointed_at, told
from tests.project_factories import ROOT, commit_params, git, until

# DVC and its libraries use what others are about to drop.
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning")]
BOB = Asked(person="Bob", why="for a test", force=True)


@pytest.fixture
def engine(looped: Path, loop_home: Path):
    commit_params(looped, {"policy.min_labels": 10})
    with told(loop_home) as found:
        yield found


def go(project: Path, asked: Asked = BOB, *, run: Any = quickly, release: Any = None, **options: Any) -> Outcome:
    return retraining(project, asked, step=plainly, run=run, say=lambda _: None, release=release, **options)


def released(project: Path, candidate: Candidate, *_: Any) -> str:
    """Stand in for the release flow."""
    registry = Registry(project)
    registry.assign(registry.register(candidate.commit, model_version=candidate.model_version))
    return f"{registry.live()}"


def test_a_promoted_candidate_is_released_and_the_slot_is_free_again(looped: Path, loop_first: Candidate, engine: Engine) -> None:
    outcome = go(looped, release=released)
    assert outcome.candidate is not None
    live = Registry(looped).live()
    assert live is not None
    assert (live.name, live.commit) == ("v1.1.0", outcome.candidate.commit)
    (record,) = slot.retrainings(engine)
    assert (record.state, record.champion) == ("finished", loop_first.model_version)
    assert record.result["verdict"] == "PROMOTE"
    assert [alert.state for alert in alerts.listed(engine)] == ["done"]


def test_the_champion_on_record_is_the_one_whose_rows_were_gathered(
    looped: Path, loop_first: Candidate, loop_home: Path, engine: Engine
) -> None:
    def changed(name: str, work: Any) -> Any:
        done = work()
        if name == "rows":
            pointed_at(loop_home, "another model")
        return done

    outcome = retraining(looped, BOB, step=changed, run=quickly, say=lambda _: None)
    assert outcome.candidate is not None
    line = next(line for line in Ledger(Registry(looped)).read() if line.commit == outcome.candidate.commit)
    assert line.facts["champion"] == {"version": "v1.0.0", "model_version": loop_first.model_version}


def test_what_a_killed_release_has_made_live_is_named_and_is_the_champion(looped: Path, loop_home: Path, engine: Engine) -> None:
    first = go(looped).candidate
    assert first is not None
    pointed_at(loop_home, first.model_version)  # killed after the swap, before it could tell
    second = go(looped).candidate
    assert second is not None
    entries = Ledger(Registry(looped)).read()
    assert [entry.version for entry in entries if entry.event == "found"] == ["v1.1.0"]
    line = next(line for line in entries if line.commit == second.commit)
    assert line.facts["champion"] == {"version": "v1.1.0", "model_version": first.model_version}


def test_who_and_why_stand_on_the_ledger(looped: Path, engine: Engine) -> None:
    outcome = go(looped)
    assert outcome.candidate is not None
    line = next(line for line in Ledger(Registry(looped)).read() if line.commit == outcome.candidate.commit)
    assert (line.who, line.why) == ("Bob", "Bob asked for it: for a test")
    assert line.facts["retraining"] == slot.retrainings(engine)[0].id


@pytest.mark.parametrize("verdict", ["HOLD", "REJECT"])
def test_what_the_gate_does_not_promote_is_recorded_and_not_released(verdict: str, looped: Path, engine: Engine) -> None:
    wish(looped, verdict)
    outcome = go(looped, release=lambda *_: pytest.fail("it was released"))
    assert outcome.words.startswith("model ") and f"{verdict}: as it was wished for." in outcome.words
    assert slot.retrainings(engine)[0].result["verdict"] == verdict
    assert (outcome.keepsakes or Path()).joinpath("dossier.html").is_file()


def test_a_promoted_candidate_waits_for_a_person_where_releases_are_not_automatic(looped: Path, engine: Engine) -> None:
    commit_params(looped, {"release.automatic": False})
    outcome = go(looped, release=lambda *_: pytest.fail("it was released"))
    assert "`evergreen promote " in (outcome.released or "")


def test_a_release_that_fails_is_told_and_trains_nothing_again(looped: Path, engine: Engine) -> None:
    def refused(*_: Any) -> str:
        raise ReleaseError("the service does not take it")

    outcome = go(looped, release=refused)
    assert "the release failed: the service does not take it; it is on record; `evergreen promote" in outcome.words
    assert slot.retrainings(engine)[0].state == "finished"
    assert [alert.state for alert in alerts.listed(engine)] == ["done"]


def test_the_slot_is_free_before_the_release_begins_and_a_release_that_is_killed_trains_nothing_again(looped: Path, engine: Engine) -> None:
    def killed(*_: Any) -> str:
        assert slot.running(engine) is None
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(looped, release=killed)
    (record,) = slot.retrainings(engine)
    assert (record.state, record.result["verdict"]) == ("finished", "PROMOTE")
    assert [alert.state for alert in alerts.listed(engine)] == ["done"]
    waiting = pending(Ledger(Registry(looped)).read())
    assert waiting is not None and waiting.commit == record.result["commit"]  # whoever sees to releases goes on from here


def test_a_branch_that_is_not_there_is_told_by_its_setting_and_costs_nothing(looped: Path, engine: Engine) -> None:
    git(looped, "branch", "--move", "main", "master")
    with pytest.raises(PipelineError, match=r"no commit 'main' in .*retrain\.branch in params\.yaml"):
        go(looped, Asked(person="Bob"))
    assert slot.retrainings(engine) == []
    commit_params(looped, {"retrain.branch": "master"})
    assert go(looped, Asked(person="Bob")).state == "finished"


def test_where_nobody_waits_for_an_answer_a_missing_branch_fails_the_claim_and_is_told(
    looped: Path, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    git(looped, "branch", "--move", "main", "master")
    with pytest.raises(PipelineError, match=r"retrain\.branch in params\.yaml"):
        go(looped, Asked(schedule="2026-11-01T00:00:00+00:00"))
    (record,) = slot.retrainings(engine)
    assert record.state == "failed" and "retrain.branch" in record.result["error"]


def test_a_run_goes_by_what_is_committed_whatever_lies_half_edited_in_the_checkout(looped: Path, engine: Engine) -> None:
    said: list[str] = []
    shares = {"retrain.fractions.train": 0.1, "retrain.fractions.test": 0.75}
    edit_params(looped / "params.yaml", {**shares, "policy.min_labels": 1000, "release.automatic": False})
    done = retraining(looped, Asked(schedule="monday"), step=plainly, run=quickly, say=said.append, release=released)
    assert done.candidate is not None and (done.candidate.data or {})["new"] == {"train": 22, "validation": 3, "calibration": 3, "test": 12}
    assert done.released is not None
    assert any("differs from what is committed on main; this run goes by main" in line for line in said)
    (looped / "params.yaml").write_text("policy: [", encoding="utf-8")
    (looped / "dvc.yaml").write_text("stages: [", encoding="utf-8")
    assert go(looped).state == "finished"


def test_a_stage_that_fails_frees_the_slot_and_is_told(looped: Path, engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(folder: Path, stage: str) -> None:
        raise PipelineError(f"{stage} stopped: no more rows")

    with pytest.raises(PipelineError, match="no more rows"):
        go(looped, run=broken)
    (record,) = slot.retrainings(engine)
    assert (record.state, record.result) == ("failed", {"error": "ingest stopped: no more rows"})
    assert slot.running(engine) is None
    assert alerts.listed(engine)[0].state == "open"


def test_a_run_that_is_ended_from_outside_may_be_done_over_at_once(looped: Path, engine: Engine) -> None:
    def ended(folder: Path, stage: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(looped, Asked(schedule="monday"), run=ended)
    assert slot.retrainings(engine)[0].state == "crashed"
    alert = alerts.listed(engine)[0]
    assert go(looped, Asked(wanted={"alert": alert.id})).state == "finished"


@pytest.mark.parametrize(
    ("asked", "why"), [(BOB, "Bob ended it with Ctrl-C"), (Asked(schedule="monday"), "a person cancelled its run in Prefect")]
)
def test_a_run_that_a_person_stops_closes_its_alert(asked: Asked, why: str, looped: Path, engine: Engine) -> None:
    def ended(folder: Path, stage: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(looped, asked, run=ended, cancelled=lambda: asked.person is None)
    (record,) = slot.retrainings(engine)
    assert (record.state, record.result) == ("stopped", {"error": why})
    assert [(alert.state, alert.closing) for alert in alerts.listed(engine)] == [("closed", why)]


@pytest.mark.parametrize(
    ("asked", "cancelled", "state"),
    [
        (BOB, False, "closed"),
        (Asked(schedule="monday"), True, "closed"),
        (Asked(schedule="monday"), False, "open"),
    ],
)
def test_a_run_that_a_person_stops_before_anything_is_claimed_closes_its_alert(
    asked: Asked, cancelled: bool, state: str, looped: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    other = alerts.raise_alert(engine, source="http", trigger="drift", because="drift")[0]
    monkeypatch.setattr(module, "gathered", ended)
    with pytest.raises(KeyboardInterrupt):
        go(looped, asked, cancelled=lambda: cancelled)
    assert slot.retrainings(engine) == []
    assert {alert.id == other.id: alert.state for alert in alerts.listed(engine)} == {True: "open", False: state}


def test_a_run_that_is_cancelled_closes_the_alerts_that_came_while_it_ran(looped: Path, engine: Engine) -> None:
    def ended(folder: Path, stage: str) -> None:
        alerts.raise_alert(engine, source="http", trigger="drift", because="drift", key=stage)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(looped, Asked(schedule="monday"), run=ended, cancelled=lambda: True)
    assert [alert.state for alert in alerts.listed(engine)] == ["closed", "closed"]


def test_of_two_at_once_one_runs_and_the_other_is_refused(looped: Path, engine: Engine) -> None:
    began, over = threading.Event(), threading.Event()
    outcomes: list[Outcome] = []

    def slowly(folder: Path, stage: str) -> None:
        began.set()
        assert over.wait(60)
        quickly(folder, stage)

    first = threading.Thread(target=lambda: outcomes.append(go(looped, run=slowly, flow_run="one")))
    first.start()
    assert began.wait(60)
    second = go(looped, run=lambda *_: pytest.fail("a second one runs"), flow_run="other")
    over.set()
    first.join()
    assert second.refusal is not None and second.refusal.reason == "taken"  # the alert, by the one that runs
    assert [outcome.state for outcome in outcomes] == ["finished"]
    assert "Nothing was trained" in markdown(second)


def test_too_few_new_labels_are_a_refusal_that_costs_nothing(looped: Path, engine: Engine) -> None:
    commit_params(looped, {"policy.min_labels": 41})
    outcome = go(looped, Asked(schedule="2026-01-01T06:00:00+00:00"))
    assert outcome.refusal is not None and outcome.refusal.reason == "labels"
    assert slot.retrainings(engine) == []


def test_a_lost_claim_stops_the_run_before_it_puts_anything_on_record(looped: Path, engine: Engine, monkeypatch: Any) -> None:
    from evergreen.errors import ClaimLost

    before = Registry(looped).head()
    ended = threading.Event()
    monkeypatch.setattr(module, "kept", lambda engine, claim: _kept(engine, claim, ended.set))

    def taken(folder: Path, stage: str) -> None:
        if stage == "ingest":
            slot.sweep(engine, now=slot.retrainings(engine)[0].lease_until + 1)
            assert ended.wait(60)

    commit_params(looped, {"policy.lease_seconds": 5})
    with pytest.raises(ClaimLost):
        go(looped, run=taken)
    assert Registry(looped).head() == before
    assert slot.retrainings(engine)[0].state == "crashed"


def _kept(engine: Engine, claim: slot.Claim, lost: Any) -> Any:
    from evergreen.monitoring.loop.lease import kept

    return kept(engine, claim, lost=lost)


def test_a_dropped_file_that_cannot_be_read_is_told_once_and_the_cooldown_holds(looped: Path, engine: Engine) -> None:
    (looped / "incoming").mkdir()
    (looped / "incoming" / "rows.csv").write_text("text,label\nonly one field\n", encoding="utf-8")
    with pytest.raises(Exception, match=r"rows\.csv, line 2"):
        go(looped, Asked(schedule="monday"))
    assert slot.retrainings(engine)[0].state == "failed"
    again = go(looped, Asked(schedule="tuesday"))
    assert again.refusal is not None and again.refusal.reason == "cooldown"


def test_its_page_tells_the_verdict_the_comparison_the_data_and_where_to_read_on(looped: Path, engine: Engine) -> None:
    outcome = go(looped, release=released)
    page = markdown(outcome)
    assert page.startswith("# PROMOTE: as it was wished for.")
    assert "| new | 6 |" in page and "+0.010 to +0.090" in page
    assert "With 6 new rows it is hard to tell." in page
    assert "| new | 22 | 3 | 3 | 12 |" in page
    assert (outcome.keepsakes or Path()).joinpath("dossier.html").as_uri() in page
    assert outcome.candidate is not None
    assert rules(outcome.candidate.verdict)[0]["outcome"] == "kept"


KILLED = """
import sys, time
from pathlib import Path
from flows.steps import plainly
from flows.making.retraining import Asked, retraining
from tests.loop_factories import quickly

def run(folder, stage):
    if stage == "gate":
        Path(sys.argv[2]).touch()
        time.sleep(600)
    quickly(folder, stage)

retraining(Path(sys.argv[1]), Asked(person="Bob", force=True), step=plainly, run=run, say=print)
"""


def test_a_run_that_is_killed_leaves_a_worktree_to_sweep_and_nothing_else(
    looped: Path, loop_home: Path, engine: Engine, tmp_path: Path
) -> None:
    before = Registry(looped).head()
    at_gate = tmp_path / "at-gate"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-W", "ignore", "-c", KILLED, str(looped), str(at_gate)]
    with subprocess.Popen(words, cwd=looped, env=environment, start_new_session=True) as process:
        until(at_gate.exists)
        process.kill()
    (left,) = (path for path in (loop_home / "worktrees").iterdir() if path.is_dir())
    assert Registry(looped).head() == before
    (record,) = slot.retrainings(engine)
    assert record.state == "running"
    slot.sweep(engine, now=record.lease_until + 1)
    assert slot.running(engine) is None
    alert = alerts.listed(engine)[0]
    assert alert.state == "open"
    outcome = go(looped, Asked(wanted={"alert": alert.id}, force=True))  # the sweep above has looked at a clock of its own
    assert outcome.state == "finished"
    assert not left.exists()
    assert [one.state for one in slot.retrainings(engine)] == ["finished", "crashed"]
