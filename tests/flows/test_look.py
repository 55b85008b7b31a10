"""One look of the monitor: windows follow one another, each is judged and decided upon once, whenever the monitor was killed."""

import csv
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from evergreen.errors import MonitorError
from evergreen.monitoring.log import request_log
from evergreen.monitoring.loop import alerts, slot
from evergreen.monitoring.watch import history, judging, window
from flows.__main__ import main
from flows.commands.watching import show_look
from flows.looking import look as module
from flows.looking import words
from tests.alert_factories import holding
from tests.log_factories import labelled
from tests.policy_factories import settings
from tests.watch_factories import DAY, START, Watched, quiet, shifted, watched


@pytest.fixture
def project(tmp_path: Path) -> Watched:
    return watched(tmp_path)


def windows(project: Watched) -> list[dict[str, Any]]:
    with project.engine() as engine:
        return history.read(engine)


def raised(project: Watched) -> list[alerts.Alert]:
    with project.engine() as engine:
        return list(alerts.listed(engine))


def drifting(project: Watched) -> None:
    """Two windows of drift that late labels show to cost something."""
    for day in (0, 1):
        table = shifted(120, seed=day)
        project.answer(table.assign(label="card"), days=(day, day + 1), labelled=1.0)


def test_a_window_reaches_from_going_live_to_now_and_the_next_one_follows(project: Watched) -> None:
    project.answer(quiet(60, seed=11), days=(0, 1))
    project.answer(quiet(70, seed=12), days=(1, 2))
    first, second = project.look(1.0).facts, project.look(2.0).facts
    assert first and second
    assert (first["since"], first["until"], first["number"], first["rows"]) == (START, START + DAY, 1, 60)
    assert (second["since"], second["until"], second["number"], second["rows"]) == (START + DAY, START + 2 * DAY, 2, 70)
    assert windows(project) == [first, second]


def test_a_window_with_too_few_answers_waits_and_grows(project: Watched) -> None:
    project.answer(quiet(30, seed=11), days=(0, 1))
    waiting = project.look(1.0)
    assert waiting.facts is None and waiting.waiting == "30 answers since the last window; one needs 50 (monitor.min_rows)"
    project.answer(quiet(30, seed=12), days=(1, 2))
    found = project.look(2.0).facts
    assert found and found["rows"] == 60 and found["since"] == START


def test_answers_that_reach_the_log_late_are_counted_and_looked_at_with_the_newest_windows(
    project: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.answer(quiet(60, seed=11), days=(0, 1))
    assert project.look(1.0).facts["late"] == 0
    project.answer(shifted(300, seed=1), days=(0.5, 0.9))  # as the service's journal tells them once the database is back
    project.answer(quiet(60, seed=12), days=(1, 2))
    found = project.look(2.0)
    assert found.facts and (found.facts["rows"], found.facts["late"]) == (60, 300)
    assert {test["scale"] for test in found.facts["drift"]["tests"] if test["alarm"]} == {"last 2 windows"}
    assert "300 answers of the window before came in after it was judged" in words.markdown(found)
    project.answer(quiet(60, seed=13), days=(2, 3))
    read: list[object] = []
    through_the_model = judging._rows
    monkeypatch.setattr(judging, "_rows", lambda *given: read.append(given) or through_the_model(*given))
    assert project.look(3.0).facts["late"] == 0
    assert len(read) == 1  # the windows before were seen, late answers and all


def test_looking_twice_at_once_judges_nothing_twice(project: Watched) -> None:
    project.answer(quiet(60, seed=11), days=(0, 1))
    first, again = project.look(1.0), project.look(1.0)
    assert first.facts and again.facts is None and again.waiting == "no time has passed since the last window"
    assert len(windows(project)) == 1


def test_the_same_bounds_give_the_window_on_record(project: Watched) -> None:
    project.answer(quiet(120, seed=11), days=(0, 1))
    bounds = {"since": START, "until": START + DAY / 2}
    assert project.look(1.0, **bounds).facts == project.look(2.0, **bounds).facts
    assert len(windows(project)) == 1


def test_bounds_that_reach_into_a_judged_window_are_refused(project: Watched) -> None:
    project.answer(quiet(120, seed=11), days=(0, 1))
    project.look(1.0)
    with pytest.raises(MonitorError, match="window 1 covers some of this time"):
        project.look(2.0, since=START + DAY / 2, until=START + 2 * DAY)


@pytest.mark.parametrize(("bounds", "words"), [((1, 1), "the window is empty"), ((0, 9), "not over yet")])
def test_bounds_without_an_inside_or_in_the_future_are_refused(project: Watched, bounds: tuple[int, int], words: str) -> None:
    project.answer(quiet(60, seed=11), days=(0, 1))
    with pytest.raises(MonitorError, match=words):
        project.look(2.0, since=START + bounds[0] * DAY, until=START + bounds[1] * DAY)


def test_before_the_first_answer_there_is_nothing_to_look_at(tmp_path: Path) -> None:
    project = watched(tmp_path)
    (project.home / "serve" / "live.json").unlink()
    found = project.look(1.0)
    assert (found.facts, found.decision, found.waiting) == (None, None, "nothing has been answered yet")


def test_labels_that_come_between_two_windows_are_measured_at_once(project: Watched) -> None:
    project.answer(quiet(100, seed=11).assign(label="card"), days=(0, 1))
    assert project.look(1.0).decision.content["checks"][0]["outcome"] == "unknown"
    with project.engine() as engine, engine.connect() as connection:
        told = [
            labelled(row.request_id, "nobody knew this one", time=START + DAY) for row in request_log.read(connection, request_log.Window())
        ]
    with project.engine() as engine:
        request_log.insert(engine, told)
    found = project.look(1.1)
    assert found.facts is None and found.decision
    assert "is beyond 0.03, for 1 window of the 2" in found.decision.because and found.decision.content["checks"][0]["value"] > 0.5


def test_a_training_waits_until_there_are_labels_enough(project: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    def unseen(root: Path, model_version: str, **_: Any) -> int:
        assert (root, model_version) == (project.root, project.model.version)
        return 120

    monkeypatch.setattr(module, "unseen", unseen)
    for day in (0, 1):
        project.answer(shifted(60, seed=day).assign(label="card"), days=(day, day + 1), labelled=1.0)
    decisions = [project.look(day).decision for day in (1.0, 2.0)]
    assert decisions[1].action == "wait" and "120 new labelled rows of the 200" in decisions[1].because
    assert raised(project) == []


def test_where_nobody_knows_how_many_labels_are_new_a_training_is_not_held_back_for_that(project: Watched) -> None:
    drifting(project)
    decision = [project.look(day).decision for day in (1.0, 2.0)][1]
    assert decision.action == "retrain" and decision.content["holds"] == []


def test_quiet_traffic_is_left_alone_and_the_decision_is_on_record(project: Watched) -> None:
    project.answer(quiet(100, seed=11), days=(0, 1))
    found = project.look(1.0)
    assert found.facts and not found.facts["drift"]["alarm"]
    assert found.decision and found.decision.action == "nothing"
    with project.engine() as engine:
        assert history.read_decisions(engine) == [found.decision]
    assert raised(project) == []


def test_drift_that_costs_accuracy_raises_one_alert_however_often_one_looks(project: Watched) -> None:
    drifting(project)
    actions = [project.look(day).decision.action for day in (1.0, 2.0, 2.1, 2.2)]
    [alert] = raised(project)
    assert actions[0] == "nothing" and actions[1] != "nothing"
    assert (alert.source, alert.trigger, alert.state, alert.window) == ("monitor", "loss", "open", windows(project)[1]["id"])


def test_a_reason_that_stands_after_its_retraining_is_a_new_alert_although_no_window_came_since(project: Watched) -> None:
    drifting(project)
    for day in (1.0, 2.0):
        project.look(day)
    with project.engine() as engine:
        for day in (2.0, 6.0):
            [waiting] = alerts.listed(engine, states=("open",))
            project_live = waiting.model_version or ""
            claim = holding(engine, waiting, live=project_live, now=START + day * DAY, settings=settings(min_labels=1))
            assert slot.finish(engine, claim, "finished", now=START + day * DAY + 600)
            assert project.look(day + 0.1).decision.action == "wait"
            assert project.look(day + 4.0).decision.action == "retrain"
    assert [alert.state for alert in raised(project)] == ["open", "done", "done"]


@pytest.fixture
def killed_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Give a way to kill the monitor before one of its parts, once."""

    class Killed(BaseException):
        pass

    def kill(project: Watched, part: str, day: float) -> None:
        def die(*_: Any, **__: Any) -> None:
            raise Killed

        with monkeypatch.context() as patched, pytest.raises(Killed):
            patched.setattr(module, part, die)
            project.look(day)

    yield kill


def test_a_monitor_killed_before_it_decided_decides_at_the_next_look(project: Watched, killed_before: Any) -> None:
    project.answer(quiet(60, seed=11), days=(0, 1))
    killed_before(project, "_decide", 1.0)
    [window] = windows(project)
    project.look(1.5)
    with project.engine() as engine:
        assert history.undecided(engine) == []
        assert window["id"] in {one.id for one in history.read_decisions(engine)}


def test_a_monitor_killed_before_its_alert_raises_it_at_the_next_look(project: Watched, killed_before: Any) -> None:
    drifting(project)
    project.look(1.0)
    killed_before(project, "_alert", 2.0)
    assert raised(project) == []
    project.look(2.1)
    [alert] = raised(project)
    assert alert.window == windows(project)[1]["id"]


def test_windows_before_are_judged_alike_whether_what_was_seen_of_them_is_still_there(project: Watched, tmp_path: Path) -> None:
    for day in range(3):
        project.answer(quiet(60, seed=day), days=(day, day + 1))
    project.look(1.0)
    project.look(2.0)
    shutil.copytree(tmp_path, tmp_path.with_name(f"{tmp_path.name} copied"))
    copied = replace(project, home=tmp_path.with_name(f"{tmp_path.name} copied") / "home")
    copied = replace(copied, url=f"sqlite:///{copied.home.parent / 'traffic.sqlite'}")
    shutil.rmtree(copied.home / "monitor" / "seen")
    assert project.look(3.0).facts == copied.look(3.0).facts


def test_one_text_sent_over_and_over_is_no_reason_to_fail(project: Watched, capsys: pytest.CaptureFixture[str]) -> None:
    project.answer(quiet(60, seed=11).assign(text="where is my card"), days=(0, 1))
    found = project.look(1.0)
    assert found.facts and found.facts["drift"]["p_value"] is None and not found.facts["drift"]["alarm"]
    assert (found.facts["rows"], found.facts["looked_at"]) == (60, 1)
    show_look(found, Console(width=110))
    shown = capsys.readouterr().out
    assert "not tested for drift  too few rows to test" in shown and "no drift" not in shown
    assert ": not tested for drift; decision: " in words.sentence(found)
    assert "Not tested for drift: too few rows to test" in words.markdown(found)
    assert found.page and "NOT TESTED" in found.page.read_text(encoding="utf-8")


def test_after_an_alarm_there_is_a_batch_to_label_and_it_goes_when_the_log_would_forget_its_texts(project: Watched) -> None:
    project.answer(shifted(150, seed=1), days=(0, 1), labelled=0.5)
    found = project.look(1.0).facts
    assert found and found["drift"]["alarm"]
    batch = project.home / "monitor" / found["batch"]
    with batch.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert 0 < len(rows) <= 50 and "quantum" in rows[0]["text"]
    assert found["batch"] in (project.home / "monitor" / "index.html").read_text(encoding="utf-8")
    os.utime(batch, (0, 0))
    project.look(1.1)
    assert not batch.exists()
    assert found["batch"] not in (project.home / "monitor" / "index.html").read_text(encoding="utf-8")


def test_labels_of_a_batch_come_in_by_the_command(project: Watched, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    project.answer(shifted(150, seed=1), days=(0, 1))
    found = project.look(1.0).facts
    batch = project.home / "monitor" / (found or {})["batch"]
    batch.write_text(re.sub(r",,fraud,", ",access,fraud,", batch.read_text(encoding="utf-8"), count=3), encoding="utf-8")
    monkeypatch.chdir(project.root)
    for _ in range(2):
        main(["label", str(batch), "--log", project.url])
    assert capsys.readouterr().out == "3 labels taken in\n0 labels taken in; 3 had been told before\n"
    with project.engine() as engine:
        assert window.count(engine, request_log.Window(labelled=True)) == 3
    batch.write_text(f"id,label\n{'0' * 32},card\n", encoding="utf-8")
    with pytest.raises(SystemExit):
        main(["label", str(batch), "--log", project.url])
    assert "holds no answer" in capsys.readouterr().err


def test_a_label_is_corrected_and_corrected_back(project: Watched, tmp_path: Path, capsys: Any) -> None:
    project.answer(quiet(1, seed=1), days=(0, 1))
    with project.engine() as engine:
        with engine.connect() as connection:
            [answer] = request_log.read(connection, request_log.Window())
        for label in ("card", "fraud", "card"):
            (tmp_path / "labels.csv").write_text(f"id,label\n{answer.request_id},{label}\n", encoding="utf-8")
            main(["label", str(tmp_path / "labels.csv"), "--log", project.url])
            assert request_log.label_of(engine, answer.request_id) == label
    assert capsys.readouterr().out == 3 * "1 label taken in\n"


@pytest.mark.long
def test_a_look_is_the_same_on_postgresql(tmp_path: Path, postgresql: Any) -> None:
    facts = []
    for url in (None, postgresql.fresh()):
        project = watched(tmp_path / f"{url is None}", url)
        drifting(project)
        looks = [project.look(day) for day in (1.0, 2.0)]
        facts.append([one.facts for one in looks])
        assert len(raised(project)) == 1 and looks[1].decision and looks[1].decision.action == "retrain"
    assert strip_ids(facts[0]) == strip_ids(facts[1])


def strip_ids(found: list[Any]) -> list[Any]:
    """Facts without the ids of rows, which are another in every log."""
    return [{**one, "explanation": {**one["explanation"], "rows": None}, "batch": None} for one in found]
