"""The base job templates of deploy/prefect, and the jobs that come of them: rendered by Prefect's own code, field by field."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import prefect
import pytest
from docker.models.containers import _create_container_args
from prefect.utilities.templating import find_placeholders
from prefect.workers.base import BaseJobConfiguration
from pydantic import ConfigDict

from evergreen.home import LOG_URL
from flows.commands.deploy import TYPES
from flows.deployments import _merged as merged
from flows.deployments import described, read_template

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "deploy" / "prefect"
THEIRS = Path(prefect.__file__).parent / "server" / "api" / "collections_data" / "views" / "aggregate-worker-metadata.json"
KINDS = ("docker", "kubernetes")
STATE = "/var/lib/evergreen"
USER = 1034
DEPLOYMENTS = described(ROOT)
NAMES = [item["name"] for item in DEPLOYMENTS]
# What the fields of a Kubernetes 1.32 Job may be called, as far as we use them: an unknown one would be dropped without a word.
ALLOWED = {
    "": {"apiVersion", "kind", "metadata", "spec"},
    "metadata": {"labels", "namespace", "generateName", "annotations"},
    "spec": {"backoffLimit", "parallelism", "completions", "ttlSecondsAfterFinished", "activeDeadlineSeconds", "template"},
    "spec.template": {"metadata", "spec"},
    "spec.template.metadata": {"labels", "annotations"},
    "spec.template.spec": {
        "restartPolicy", "serviceAccountName", "automountServiceAccountToken", "enableServiceLinks", "terminationGracePeriodSeconds",
        "securityContext", "nodeSelector", "tolerations", "containers", "volumes",
    },
    "spec.template.spec.securityContext": {
        "runAsNonRoot", "runAsUser", "runAsGroup", "fsGroup", "fsGroupChangePolicy", "seccompProfile",
    },
    "spec.template.spec.containers": {
        "name", "image", "imagePullPolicy", "args", "env", "envFrom", "resources", "securityContext", "volumeMounts",
    },
    "spec.template.spec.containers.env": {"name", "value", "valueFrom"},
    "spec.template.spec.containers.envFrom": {"secretRef"},
    "spec.template.spec.containers.resources": {"requests", "limits"},
    "spec.template.spec.containers.volumeMounts": {"name", "mountPath", "readOnly"},
    "spec.template.spec.volumes": {"name", "persistentVolumeClaim", "emptyDir"},
}  # fmt: skip
# Prefect's Kubernetes worker refuses a job without these two at this place, where Kubernetes knows no such fields and leaves them out.
DEMANDED = {"parallelism", "completions"}


class Job(BaseJobConfiguration):
    """A job with whatever its type of worker knows beside the common fields."""

    model_config = ConfigDict(extra="allow")


def template(kind: str) -> dict[str, Any]:
    return read_template(TEMPLATES / f"{kind}.json")


def rendered(kind: str, name: str = "monitor", **given: Any) -> dict[str, Any]:
    """Return the job of a deployment's run, as a worker of this kind gets it."""
    item = DEPLOYMENTS[NAMES.index(name)]
    values = merged(item["work_pool"]["job_variables"], given)
    nobody: Any = object()  # in the place of a client: there is no block and no variable to ask a server for
    job = asyncio.run(Job.from_template_and_values(template(kind), values, client=nobody))
    return job.model_dump()


def manifest(name: str = "monitor", **given: Any) -> dict[str, Any]:
    return dict(rendered("kubernetes", name, **given)["job_manifest"])


def container(name: str = "monitor", **given: Any) -> dict[str, Any]:
    [only] = manifest(name, **given)["spec"]["template"]["spec"]["containers"]
    return dict(only)


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EVERGREEN_REPOSITORY", "EVERGREEN_LOG_URL", "EVERGREEN_NOTIFY"):
        monkeypatch.setenv(name, f"the worker's {name}")


def test_every_type_beside_a_process_has_a_template() -> None:
    assert {path.stem for path in TEMPLATES.glob("*.json")} == set(KINDS) == set(TYPES) - {"process"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_template_takes_every_variable_of_prefects_own(kind: str) -> None:
    """So that a pool can be edited in Prefect's pages as any other, and a new pin that brings another variable is noticed."""
    theirs = json.loads(THEIRS.read_text(encoding="utf-8"))[f"prefect-{kind}"][kind]["default_base_job_configuration"]
    ours = template(kind)

    def shapes(found: dict[str, Any]) -> dict[str, Any]:
        properties = found["variables"]["properties"]
        return {name: {key: value for key, value in schema.items() if key != "default"} for name, schema in properties.items()}

    assert shapes(ours) | shapes(theirs) == shapes(ours)
    assert ours["job_configuration"].keys() >= theirs["job_configuration"].keys()


@pytest.mark.parametrize("kind", KINDS)
def test_every_placeholder_of_a_template_is_a_variable_and_every_variable_is_used(kind: str) -> None:
    found = template(kind)
    used = {placeholder.name for placeholder in find_placeholders(json.dumps(found["job_configuration"]))}
    assert used | {"env"} == set(found["variables"]["properties"])  # env is merged in, placeholder or not


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_a_rendered_job_has_no_placeholder_left(kind: str, name: str) -> None:
    assert "{{" not in json.dumps(rendered(kind, name))


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_knows_its_state_its_project_and_its_code(kind: str) -> None:
    env = rendered(kind)["env"]
    assert env["EVERGREEN_HOME"] == f"{STATE}/home"
    assert env["EVERGREEN_PROJECT"] == env["PYTHONPATH"] == f"{STATE}/project"  # the clone's code, not the image's
    assert env["HOME"] == "/tmp" and env["PREFECT_HOME"].startswith("/tmp/")
    assert env["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"  # the crash watch lives on it


@pytest.mark.parametrize("kind", KINDS)
def test_a_deployment_adds_to_the_environment_and_takes_nothing_from_it(kind: str) -> None:
    assert rendered(kind, env={"EVERGREEN_DEBUG": "1"})["env"] == {**rendered(kind)["env"], "EVERGREEN_DEBUG": "1"}
    assert rendered(kind, **{"env.EVERGREEN_DEBUG": "1"})["env"]["EVERGREEN_DEBUG"] == "1"


@pytest.mark.parametrize("kind", KINDS)
def test_what_only_the_caller_knows_takes_its_place(kind: str) -> None:
    assert "evergreen:7" in json.dumps(rendered(kind, image="evergreen:7"))


def test_fields_of_the_kubernetes_job_are_called_as_kubernetes_calls_them() -> None:
    found = manifest("retrain", gpus=1, node_selector={"gpu": "yes"}, tolerations=[{"operator": "Exists"}], active_deadline_seconds=3600)
    assert (found["apiVersion"], found["kind"]) == ("batch/v1", "Job")
    strange = Counter()

    def look(value: Any, at: str = "") -> None:
        if isinstance(value, list):
            for inner in value:
                look(inner, at)
        elif isinstance(value, dict) and at in ALLOWED:
            strange.update(f"{at}.{name}" for name in value.keys() - ALLOWED[at])
            for name, inner in value.items():
                look(inner, f"{at}.{name}".lstrip("."))

    look(found)
    assert set(strange) == {f"spec.template.spec.{name}" for name in DEMANDED}


def test_a_kubernetes_job_is_tried_once_and_goes_in_the_end() -> None:
    spec = manifest()["spec"]
    assert (spec["backoffLimit"], spec["parallelism"], spec["completions"]) == (0, 1, 1)  # what to try again is for our own tables to say
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert spec["ttlSecondsAfterFinished"] > 0 and "activeDeadlineSeconds" not in spec


def test_the_container_is_called_as_prefects_worker_wants_it() -> None:
    assert container()["name"] == "prefect-job"
    assert "command" not in container()  # the image's entrypoint goes around every run


def test_a_kubernetes_run_has_no_rights_and_writes_to_its_volumes_alone() -> None:
    pod = manifest()["spec"]["template"]["spec"]
    assert pod["securityContext"] == {
        "runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER, "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    assert pod["automountServiceAccountToken"] is False and "serviceAccountName" not in pod
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {mount["mountPath"]: mount["name"] for mount in container()["volumeMounts"]} == {STATE: "state", "/tmp": "tmp"}
    assert pod["volumes"] == [
        {"name": "state", "persistentVolumeClaim": {"claimName": "evergreen-flows"}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "4Gi"}},
    ]


def test_secrets_of_a_kubernetes_run_come_from_a_secret_and_stand_in_no_job() -> None:
    entries = {entry["name"]: entry["valueFrom"]["secretKeyRef"] for entry in container()["env"]}
    assert entries.keys() == {"EVERGREEN_REPOSITORY", LOG_URL, "EVERGREEN_NOTIFY", "PREFECT_API_AUTH_STRING"}
    assert {entry["name"] for entry in entries.values()} == {"evergreen-flows"}
    assert [name for name, entry in entries.items() if entry.get("optional")] == ["EVERGREEN_NOTIFY"]
    # null takes away what the worker would copy from its own environment, in plain words, in the place of the reference
    assert rendered("kubernetes")["env"]["PREFECT_API_AUTH_STRING"] is None


@pytest.mark.parametrize(("name", "cpu", "memory"), [("monitor", "1", "3Gi"), ("retrain", "2", "6Gi")])
def test_a_training_asks_for_more_than_a_look(name: str, cpu: str, memory: str) -> None:
    resources = container(name)["resources"]
    assert resources["requests"]["cpu"] == cpu and resources["limits"] == {"memory": memory}  # no CPU limit: throttling is time
    assert rendered("docker", name)["mem_limit"] == {"3Gi": "3g", "6Gi": "6g"}[memory]


def test_a_gpu_is_asked_for_by_one_variable() -> None:
    assert container("retrain", gpus=1)["resources"]["limits"] == {"memory": "6Gi", "nvidia.com/gpu": 1}


def test_docker_takes_the_container_as_it_is_rendered() -> None:
    job = rendered("docker", device_requests=[{"driver": "nvidia", "count": 1, "capabilities": [["gpu"]]}])
    known = {name: job[name] for name in ("image", "volumes", "mem_limit", "privileged", "auto_remove")}
    made = _create_container_args({**known, **job["container_create_kwargs"], "version": "1.50", "command": "prefect flow-run execute"})
    host = made["host_config"]
    assert made["user"] == f"{USER}:{USER}" and host["ReadonlyRootfs"] and host["Init"]
    assert (host["CapDrop"], host["SecurityOpt"]) == (["ALL"], ["no-new-privileges:true"]) and "Privileged" not in host
    assert host["Binds"] == [f"evergreen-flows:{STATE}"] and host["Tmpfs"].keys() == {"/tmp"}
    assert host["Memory"] == 3 * 2**30 and host["DeviceRequests"][0]["Capabilities"] == [["gpu"]]


def test_secrets_of_a_container_come_from_the_workers_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rendered("docker")["env"][LOG_URL] == f"the worker's {LOG_URL}"
    assert template("docker")["variables"]["properties"]["env"]["default"][LOG_URL] == f"{{{{ ${LOG_URL} }}}}"  # the server knows none
    monkeypatch.delenv("EVERGREEN_NOTIFY")
    assert rendered("docker")["env"]["EVERGREEN_NOTIFY"] == ""  # where there is none, none
