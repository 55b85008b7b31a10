"""`evergreen deploy` and `prefect deploy --all` on a real server: one description, whatever the door and the type of the pool."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evergreen.errors import PipelineError
from evergreen.params_file import edit_params
from flows.commands.deploy import variable
from flows.deployments import read_template
from tests.prefect_factories import ask, environment, evergreen, free_port, prefect_server, stand_in_project, until

FLEETING = {"id", "created", "updated", "deployment_id", "last_polled", "status", "work_queue_id"}


def test_a_job_variable_is_read_as_yaml() -> None:
    assert variable("image=evergreen-flows:1.2.0") == ("image", "evergreen-flows:1.2.0")
    assert variable("gpus=1") == ("gpus", 1)
    assert variable("env.A=b=c") == ("env.A", "b=c")


@pytest.mark.parametrize("words", ["gpus", "=1", "a={"])
def test_what_is_no_job_variable_is_named(words: str) -> None:
    with pytest.raises(PipelineError, match=f"--job-variable {words} is no K=V"):
        variable(words)


def test_what_is_no_template_is_named_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(PipelineError, match=r"t\.json is no base job template: it needs the keys"):
        read_template(tmp_path / "t.json")
    with pytest.raises(PipelineError, match=r"none\.json is no base job template: .*No such file"):
        read_template(tmp_path / "none.json")


def test_without_a_server_it_says_what_to_start(tmp_path: Path) -> None:
    done = evergreen(stand_in_project(tmp_path / "p"), "deploy", env=environment(tmp_path / "home"))
    assert done.returncode == 1
    assert "start `evergreen up`" in done.stderr and "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prefect_server(tmp_path_factory.mktemp("server")) as api:
        yield api


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return stand_in_project(tmp_path / "project")


@pytest.fixture
def env(tmp_path: Path, server: str) -> dict[str, str]:
    return environment(tmp_path / "home", PREFECT_API_URL=server)


def deployed(api: str) -> list[dict[str, Any]]:
    """Return the server's deployments without what differs each time: ids and times."""

    def lasting(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: lasting(inner) for name, inner in value.items() if name not in FLEETING and name != "global_concurrency_limit"}
        return [lasting(inner) for inner in value] if isinstance(value, list) else value

    found = ask(api, "deployments/filter", {"sort": "NAME_ASC"})
    assert [(item["global_concurrency_limit"] or {}).get("limit") for item in found] == [1, None]
    return [lasting(item) for item in found]


def forget(api: str, env: dict[str, str]) -> None:
    for name in ("monitor/monitor", "retrain/retrain"):
        subprocess.run([sys.executable, "-m", "prefect", "deployment", "delete", name], env=env, check=True, capture_output=True)


@pytest.mark.long
def test_both_doors_give_the_same_deployments(project: Path, server: str, env: dict[str, str]) -> None:
    done = evergreen(project, "deploy", env=env)
    assert done.stdout.split() == ["monitor/monitor", "retrain/retrain"], done.stderr
    ours = deployed(server)
    forget(server, env)
    plain = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(plain, cwd=project, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    theirs = deployed(server)
    for one in (*ours, *theirs):
        one["labels"].pop("prefect.flow.id", None)
    assert ours == theirs
    assert [(entry["schedule"]["cron"], entry["active"]) for item in ours for entry in item["schedules"]] == [
        ("0 6 * * *", True),
        ("0 0 1 1 *", False),
    ]


@pytest.mark.long
def test_only_the_pool_differs_between_its_types(project: Path, server: str, env: dict[str, str]) -> None:
    assert evergreen(project, "deploy", env=env).returncode == 0
    here = deployed(server)
    for kind in ("kubernetes", "docker"):
        done = evergreen(project, "deploy", "--pool", kind, "--type", kind, "--job-variable", "image=flows:7", env=env)
        assert done.returncode == 0, done.stderr
        there = deployed(server)
        assert {item.pop("work_pool_name") for item in there} == {kind}
        assert all(item["job_variables"].pop("image") == "flows:7" for item in there)
        assert there == [{name: value for name, value in item.items() if name != "work_pool_name"} for item in here]
        [pool] = ask(server, "work_pools/filter", {"work_pools": {"name": {"any_": [kind]}}})
        assert pool["type"] == kind and pool["base_job_template"] == read_template(project / "deploy" / "prefect" / f"{kind}.json")


@pytest.mark.long
def test_a_schedule_that_changes_or_goes_is_taken_over(project: Path, server: str, env: dict[str, str]) -> None:
    def deploy(monitor: str | None) -> list[tuple[str, bool]]:
        edit_params(project / "params.yaml", {"monitor.schedule": monitor})
        assert evergreen(project, "deploy", env=env).returncode == 0
        return [(entry["schedule"]["cron"], entry["active"]) for entry in deployed(server)[0]["schedules"]]

    assert deploy("5 7 * * *") == [("5 7 * * *", True)]
    [(_, active)] = deploy(None)
    assert not active
    assert ask(server, "flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}) == []


@pytest.mark.long
def test_what_cannot_be_is_one_clear_message(project: Path, env: dict[str, str], tmp_path: Path) -> None:
    assert evergreen(project, "deploy", env=env).returncode == 0
    for words, told in (
        (["--type", "docker"], "the work pool evergreen is of type process, not docker"),
        (["--job-variable", "nix=1"], "the work pool evergreen has no job variable nix; it has: command, env"),
    ):
        done = evergreen(project, "deploy", *words, env=env)
        assert (done.returncode, "Traceback" in done.stderr) == (1, False)
        assert told in done.stderr
    (tmp_path / "t.json").write_text('{"job_configuration": {"command": "{{ strange }}"}, "variables": {"properties": {}}}')
    done = evergreen(project, "deploy", "--template", str(tmp_path / "t.json"), env=env)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "Prefect refuses" in done.stderr and "strange" in done.stderr
    nobody = {**env, "PREFECT_API_URL": f"http://127.0.0.1:{free_port()}/api"}
    assert "Prefect does not answer on" in evergreen(project, "deploy", env=nobody).stderr
    (project / "flows" / "retrain.py").unlink()
    done = evergreen(project, "deploy", env=env)
    assert done.returncode == 1
    assert "the flow flows/retrain.py:retrain of prefect.yaml cannot be loaded" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.long
def test_a_worker_started_elsewhere_runs_the_projects_own_code(project: Path, server: str, env: dict[str, str], tmp_path: Path) -> None:
    assert evergreen(project, "deploy", env=env).returncode == 0
    elsewhere = {**env, "EVERGREEN_PROJECT": str(project), "PREFECT_WORKER_QUERY_SECONDS": "1"}
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "evergreen", "--type", "process"]
    worker = subprocess.Popen(command, cwd="/", env=elsewhere, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        start = [sys.executable, "-m", "prefect", "deployment", "run", "monitor/monitor"]
        subprocess.run(start, env=env, check=True, capture_output=True)
        word = tmp_path / "home" / "ran-monitor"
        until(word.exists)
        until(lambda: len(word.read_text().splitlines()) == 3)
        assert word.read_text().splitlines() == [str(project), ".", str(project / "flows" / "monitor.py")]
    finally:
        worker.terminate()
        try:
            worker.wait(60)
        except subprocess.TimeoutExpired:  # it waits for its server; that is Prefect's, and not what is tried here
            worker.kill()
            worker.wait()
