"""Evidently's report of a window shows our tests and figures, and its workspace holds every window once."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.html_factories import HOSTILE, scripts
from tests.monitor_factories import drifting, facts, measured

# Evidently imports numpy.core and other names on their way out, and opens files that it leaves to the collector; none of it is ours.
pytestmark = [pytest.mark.filterwarnings(f"ignore::{kind}") for kind in ("DeprecationWarning", "FutureWarning", "ResourceWarning")]


@pytest.fixture(scope="module")
def watch() -> ModuleType:
    from evergreen.monitoring.watch import evidently_watch

    return evidently_watch


def columns(rows: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    names = {"prediction": random.choice(["card", "fraud"], rows), "group_age_band": random.choice(["18-34", "60+"], rows)}
    return pd.DataFrame({"words": random.poisson(12, rows).astype(float), "masked_tokens": np.zeros(rows), **names})


def report(watch: ModuleType, window: dict[str, Any]) -> Any:
    return watch.window_report(window, columns(60, 1), columns(200, 2))


def test_the_page_tells_our_tests_and_words_and_loads_nothing(watch: ModuleType, tmp_path: Path) -> None:
    watch.write_page(report(watch, drifting(quality=measured(0.7))), tmp_path / "reports" / "one.html")
    page = (tmp_path / "reports" / "one.html").read_text(encoding="utf-8")
    assert "Alarm: drift tests" in page and "passkey" in page and "Accuracy by late labels 0.700" in page
    assert '<script src="http' not in page and '<link href="http' not in page
    assert [path.name for path in (tmp_path / "reports").iterdir()] == ["one.html"]


def test_no_name_that_a_caller_told_becomes_a_script(watch: ModuleType, tmp_path: Path) -> None:
    told = drifting(quality=measured(0.7))
    watch.write_page(watch.window_report(told, columns(60, 1), columns(200, 2)), tmp_path / "plain.html")
    told["drift"]["tests"][0]["note"] = told["quality"]["groups"][0]["name"] = told["explanation"]["words"][0]["word"] = HOSTILE
    hostile = columns(60, 1).assign(group_age_band=HOSTILE)
    watch.write_page(watch.window_report(told, hostile, columns(200, 2)), tmp_path / "hostile.html")
    plain, made = ((tmp_path / name).read_text(encoding="utf-8") for name in ("plain.html", "hostile.html"))
    assert scripts(made) == scripts(plain) and HOSTILE not in made and "alert(1)" in made


def test_a_report_downloaded_from_the_workspace_holds_no_script_of_a_caller(watch: ModuleType, tmp_path: Path) -> None:
    from evidently.core.report import Snapshot
    from evidently.ui.workspace import Workspace

    told = drifting(quality=measured(0.7))
    told["drift"]["tests"][0]["note"] = told["quality"]["groups"][0]["name"] = told["explanation"]["words"][0]["word"] = HOSTILE
    hostile = watch.window_report(told, columns(60, 1).assign(group_age_band=HOSTILE), columns(200, 2))
    for report, name in (
        (hostile, "hostile"),
        (watch.window_report(drifting(quality=measured(0.7)), columns(60, 1), columns(200, 2)), "plain"),
    ):
        watch.keep_run(report, tmp_path / name, "harbour-inbox")
    pages = []
    for name in ("hostile", "plain"):
        kept = Workspace.create(str(tmp_path / name))
        [project] = kept.list_projects()
        [run] = [kept.get_run(project.id, run) for run in kept.list_runs(project.id)]
        pages.append(Snapshot.load_dict(run.dict()).get_html_str(as_iframe=False))  # as the workspace's own server does
    assert scripts(pages[0]) == scripts(pages[1]) and HOSTILE not in pages[0] and "alert(1)" in pages[0]


def test_the_workspace_holds_each_window_once_with_its_figures(watch: ModuleType, tmp_path: Path) -> None:
    windows = [facts(number=1), drifting(number=2, since=10.0, until=20.0, quality=measured(0.7))]
    for window in [*windows, windows[1]]:
        watch.keep_run(report(watch, window), tmp_path / "evidently", "harbour-inbox")
    from evidently.ui.workspace import Workspace

    kept = Workspace.create(str(tmp_path / "evidently"))
    [project] = kept.list_projects()
    runs = [kept.get_run(project.id, run) for run in kept.list_runs(project.id)]
    assert sorted(run.name for run in runs if run) == ["window 1 of v1", "window 2 of v1"]
    assert len(project.dashboard.model().panels) == 4
    [second] = [run for run in runs if run and run.name == "window 2 of v1"]
    told = {result.display_name: getattr(result, "value", None) for result in second.metric_results.values()}
    assert told["accuracy, measured"] == pytest.approx(0.7) and told["drift"] == pytest.approx(4.301, abs=0.001)


def test_a_figure_that_a_window_lacks_is_left_out(watch: ModuleType) -> None:
    found = watch.figures_of(facts())
    assert "accuracy, measured" not in found and found["answers"] == 100
