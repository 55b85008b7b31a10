"""What a person who knows DVC does with the project works as they expect."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from evergreen.params_file import edit_params
from evergreen.reports import read_report
from tests.project_factories import command, dvc, git, outputs
from tests.system.network import NO_NETWORK

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


def test_metrics_show_lists_figures_with_their_intervals(finished: Path) -> None:
    shown = json.loads(dvc(finished, "metrics", "show", "--json").stdout)[""]["data"]["reports/metrics.json"]["data"]
    assert shown["accuracy"]["low"] <= shown["accuracy"]["value"] <= shown["accuracy"]["high"]
    assert {"macro_f1", "log_loss", "ece", "baseline", "lead"} <= shown.keys()
    assert "accuracy.value" in dvc(finished, "metrics", "show").stdout


def test_metrics_diff_and_params_diff_say_what_an_edit_did(project: Path) -> None:
    edit_params(project / "params.yaml", {"evaluate.level": 0.9, "finetune.learning_rate": 2e-4})
    dvc(project, "repro", "--single-item", "evaluate")
    knobs = json.loads(dvc(project, "params", "diff", "--json").stdout)["params.yaml"]
    edits = {name: (knob["old"], knob["new"]) for name, knob in knobs.items()}
    assert edits == {"evaluate.level": (0.95, 0.9), "finetune.learning_rate": (0.005, 0.0002)}
    figures = json.loads(dvc(project, "metrics", "diff", "--json").stdout)["reports/metrics.json"]
    assert figures["accuracy.high"]["diff"] < 0 < figures["accuracy.low"]["diff"]
    assert "accuracy.value" not in figures


def test_dag_shows_every_stage(finished: Path) -> None:
    drawn = dvc(finished, "dag", "--dot").stdout
    assert '"split" -> "finetune"' in drawn
    assert all(f'"{stage}"' in drawn for stage in yaml.safe_load((finished / "dvc.yaml").read_text(encoding="utf-8"))["stages"])


def test_an_edit_of_a_module_makes_exactly_the_stages_stale_that_use_it(project: Path) -> None:
    for module in ("evergreen/data/splitting.py", "evergreen/release/charts.py"):
        with (project / module).open("a", encoding="utf-8") as file:
            file.write("# an edit\n")
    stale = json.loads(dvc(project, "status", "--json").stdout)
    assert stale == {
        "split": [{"changed deps": {"evergreen/data/splitting.py": "modified"}}],
        "document": [{"changed deps": {"evergreen/release/charts.py": "modified"}}],
    }


@pytest.mark.long
def test_a_record_of_uncommitted_code_names_the_commands_that_replace_it(project: Path) -> None:
    with (project / "README.md").open("a", encoding="utf-8") as file:
        file.write("an edit\n")
    said = dvc(project, "repro", "--single-item", "--force", "document").stdout
    assert "the code has changes that are not committed" in said
    assert read_report(project / "reports/provenance.json")["code"]["dirty"] is True
    git(project, "commit", "--quiet", "--all", "--message=An edit")
    again = re.search(r"^ +(dvc repro .* && .*)$", said, re.MULTILINE)
    assert again is not None, said
    command(project, "sh", "-c", again[1])
    assert read_report(project / "reports/provenance.json")["code"] == {"commit": git(project, "rev-parse", "HEAD").strip(), "dirty": False}
    assert (project / "build/bento/src/dossier.html").read_bytes() == (project / "reports/dossier.html").read_bytes()
    assert dvc(project, "status").stdout.strip() == "Data and pipelines are up to date."


@pytest.mark.long
def test_an_experiment_runs_with_another_learning_rate_and_is_listed(project: Path) -> None:
    before = outputs(project)
    said = dvc(project, "exp", "run", "--name", "faster", "--set-param", "finetune.learning_rate=2e-2").stdout
    assert "faster" in said
    rows = dvc(project, "exp", "show", "--csv").stdout.splitlines()
    assert any("faster" in row and "0.02" in row for row in rows)
    after = outputs(project)
    assert after["data/splits"] == before["data/splits"]
    assert after["models/classifier"] != before["models/classifier"]


def plots_page(project: Path) -> Path:
    dvc(project, "plots", "show")
    return project / "dvc_plots" / "index.html"


def test_plots_show_writes_a_page_that_loads_nothing(project: Path) -> None:
    page = plots_page(project).read_text(encoding="utf-8")
    assert all(f'id = "{name}"' in page for name in ("Training", "Confusion", "Reliability", "Learning"))
    assert re.findall(r"<(?:script|img|link)[^>]*(?:src|href)", page) == []
    assert git(project, "status", "--porcelain") == ""


@pytest.mark.skipif(BROWSER is None, reason="no browser to draw the page: neither chromium nor google-chrome is on the PATH")
def test_the_page_of_plots_draws_itself_in_a_browser_without_a_network(project: Path) -> None:
    page = plots_page(project)
    quiet = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--virtual-time-budget=5000")
    drawn = command(project, *NO_NETWORK, str(BROWSER), *quiet, "--dump-dom", page.as_uri()).stdout
    labels = pd.read_csv(project / "plots/confusion.csv").stack().nunique()
    points = pd.read_csv(project / "plots/reliability.csv")
    assert drawn.count("<polyline") == 5  # train loss, validation loss and accuracy; the baseline's accuracy and macro F1
    assert drawn.count("<rect") == labels**2
    assert drawn[drawn.index('id="Reliability"') : drawn.index('id="Learning"')].count("<circle") == len(points)
    assert 'class="unknown"' not in drawn
