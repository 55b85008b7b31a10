"""What runs by itself: prefect.yaml, the schedules of params.yaml, and the watch over runs that were killed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from evergreen.config import load_params
from evergreen.errors import PipelineError
from evergreen.params_file import edit_params
from flows.deployments import FILE, SILENCE, crash_watch, cron_schedule, described
from flows.schedules import placeholders

ROOT = Path(__file__).parents[2]


def test_every_deployment_has_a_schedule_of_its_own_in_params_and_no_other() -> None:
    values = placeholders(load_params(ROOT / "params.yaml"))
    assert {item["name"] for item in described(ROOT)} == set(values)
    for item in described(ROOT):
        name = item["name"]
        assert item["schedules"] == [{"cron": f"{{{{ {name}.cron }}}}", "active": f"{{{{ {name}.scheduled }}}}", "timezone": "UTC"}]


def test_a_deployment_without_a_schedule_has_one_that_is_switched_off(tmp_path: Path) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    edit_params(tmp_path / "params.yaml", {"monitor.schedule": None, "retrain.schedule": "0 3 * * 0"})
    values = placeholders(load_params(tmp_path / "params.yaml"))
    assert values["monitor"]["scheduled"] is False and cron_schedule("monitor", values["monitor"]["cron"])
    assert values["retrain"] == {"cron": "0 3 * * 0", "scheduled": True}


def test_a_schedule_that_cannot_be_is_named_with_its_place() -> None:
    with pytest.raises(PipelineError, match=r"monitor\.schedule.*'61 25 \* \* \*'"):
        cron_schedule("monitor", "61 25 * * *")


def test_where_the_project_lies_is_said_by_the_worker_and_by_no_deployment() -> None:
    for item in described(ROOT):
        assert item["pull"] == [{"prefect.deployments.steps.set_working_directory": {"directory": "{{ $EVERGREEN_PROJECT }}"}}]
        assert item["parameters"] == {"root": "."}


def test_a_second_look_is_turned_away_and_a_second_retraining_is_left_to_our_own_slot() -> None:
    limits = {item["name"]: item.get("concurrency_limit") for item in described(ROOT)}
    assert limits == {"monitor": {"limit": 1, "collision_strategy": "CANCEL_NEW", "grace_period_seconds": 60}, "retrain": None}


def test_three_heartbeats_may_be_missed_before_a_run_counts_as_crashed() -> None:
    trigger = crash_watch().trigger
    assert SILENCE.total_seconds() == 90
    assert "prefect.flow-run.heartbeat" in trigger.expect  # type: ignore[union-attr]


def test_a_damaged_file_is_one_clear_message(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("deployments: {\n")
    with pytest.raises(PipelineError, match=r"prefect\.yaml cannot be read as deployments"):
        described(tmp_path)


def test_prefects_own_reader_takes_the_file() -> None:
    code = (
        "import asyncio, json, pathlib\nfrom prefect.cli.deploy._config import _load_deploy_configs_and_actions\n"
        "from rich.console import Console\n"
        "configs, actions = _load_deploy_configs_and_actions(prefect_file=pathlib.Path('prefect.yaml'), console=Console())\n"
        "print(json.dumps([c['name'] for c in configs]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout) == [item["name"] for item in described(ROOT)]


def test_what_prefect_lets_people_leave_out_may_be_left_out_and_what_it_needs_is_named(tmp_path: Path) -> None:
    least = "pull: []\ndeployments:\n  - name: monitor\n    entrypoint: flows/monitor.py:monitor\n    work_pool: {name: evergreen}\n"
    (tmp_path / FILE).write_text(least)
    [found] = described(tmp_path)
    assert (found["tags"], found["parameters"], found["schedules"], found["description"]) == ([], {}, [], None)
    assert found["work_pool"]["job_variables"] == {"env": {}}
    (tmp_path / FILE).write_text(least.replace("    entrypoint: flows/monitor.py:monitor\n", ""))
    with pytest.raises(PipelineError, match=r"cannot be read as deployments \('entrypoint'\)"):
        described(tmp_path)
