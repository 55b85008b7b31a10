import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from evergreen.config import Params, load_params
from evergreen.reports import read_report
from evergreen.sections.gate import Gate
from stages.gate import REPORTS, gate
from tests.gate_factories import RULES, good_reports, spoilt, write_reports

VERSION = "0123456789ab"
ROOT = Path(__file__).parents[2]


def params() -> Params:
    return load_params(ROOT / "params.yaml").model_copy(update={"gate": Gate.model_validate({"on_reject": "report", "rules": RULES})})


def run_gate(folder: Path, reports: dict, on_reject: str = "report") -> subprocess.CompletedProcess[str]:
    """Run the stage as dvc.yaml does, in a folder of its own."""
    content = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    content["gate"] = {"on_reject": on_reject, "rules": RULES}
    (folder / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    inputs = [f"{name}={path}" for name, path in write_reports(folder, {**reports, "evaluation": {"model_version": VERSION}}).items()]
    command = [sys.executable, "-m", "stages.gate", "--in", *inputs, "--out", "verdict=verdict.json", "--record", "gate-run.json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "EVERGREEN_HOME": "state"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_good_model_is_promoted_and_the_table_shows_each_rule(tmp_path: Path) -> None:
    done = run_gate(tmp_path, good_reports())
    assert done.returncode == 0, done.stderr
    verdict = read_report(tmp_path / "verdict.json")
    assert (verdict["verdict"], verdict["model_version"]) == ("PROMOTE", VERSION)
    assert "PROMOTE: the model keeps all 12 rules that are on." in done.stdout
    assert "\x1b[" not in done.stdout  # no colours through a pipe
    row = next(line for line in done.stdout.splitlines() if "Beats the simple baseline" in line)
    assert row.split() == ["Beats", "the", "simple", "baseline", "0.050", "0.020", "to", "0.080", "more", "than", "0", "pass"]


def test_a_rejected_model_goes_on_where_only_a_report_is_asked(tmp_path: Path) -> None:
    done = run_gate(tmp_path, spoilt("metrics.macro_f1.value", 0.5))
    assert done.returncode == 0, done.stderr
    assert read_report(tmp_path / "verdict.json")["verdict"] == "REJECT"
    assert not (tmp_path / "state" / "refused").exists()


def test_a_rejected_model_ends_the_pipeline_where_asked_and_the_verdict_is_kept(tmp_path: Path) -> None:
    done = run_gate(tmp_path, spoilt("metrics.macro_f1.value", 0.5), on_reject="fail")
    assert done.returncode == 1
    assert not (tmp_path / "verdict.json").exists()
    kept = read_report(tmp_path / "state" / "refused" / "verdict.json")
    assert kept["verdict"] == "REJECT"
    assert "gate stopped: the model is rejected, and gate.on_reject is fail" in done.stderr
    assert "Macro F1 (the mean over labels of how well each is found) is 0.500" in done.stderr
    assert "state/refused/verdict.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_kept_refusal_goes_when_a_later_model_passes(tmp_path: Path) -> None:
    assert run_gate(tmp_path, spoilt("metrics.macro_f1.value", 0.5), on_reject="fail").returncode == 1
    assert run_gate(tmp_path, good_reports(), on_reject="fail").returncode == 0
    assert not (tmp_path / "state" / "refused").exists()


def test_a_hold_never_ends_the_pipeline(tmp_path: Path) -> None:
    assert run_gate(tmp_path, spoilt("latency.p95_milliseconds", 900.0), on_reject="fail").returncode == 0
    assert read_report(tmp_path / "verdict.json")["verdict"] == "HOLD"


@pytest.mark.parametrize("damage", ["{", "[]"])
def test_a_damaged_report_fails_closed_and_says_so(tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path / "state"))
    write_reports(tmp_path, {**good_reports(), "evaluation": {"model_version": VERSION}})
    (tmp_path / "audit.json").write_text(damage, encoding="utf-8")
    gate(
        params(),
        SimpleNamespace(**{name: tmp_path / f"{name}.json" for name in (*REPORTS, "evaluation")}),
        SimpleNamespace(verdict=tmp_path / "verdict.json"),
    )
    verdict = read_report(tmp_path / "verdict.json")
    assert verdict["verdict"] == "HOLD"
    assert sum("audit.json" in rule["because"] for rule in verdict["rules"] if rule["outcome"] == "missing") == 2
