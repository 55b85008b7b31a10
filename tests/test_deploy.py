"""What deploy/ holds agrees with itself and with the service."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from evergreen.access import FILE
from evergreen.config import load_params
from evergreen.home import LOG_URL
from flows.__main__ import _parser
from serving.api.app import METRICS
from serving.api.health import LIVE, READY
from serving.api.metrics import Metrics
from serving.compose import SECONDS_TO_RECORD
from serving.machine.children import GRACE
from serving.machine.front import SECONDS_TO_DRAIN
from tests.serving_factories import FakeRecorder, challenged

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
STATE = "/var/lib/evergreen"


def unit() -> dict[str, list[str]]:
    """Return the settings of the systemd unit; one that stands twice has two values."""
    settings: dict[str, list[str]] = {}
    for line in (DEPLOY / "evergreen.service").read_text(encoding="utf-8").splitlines():
        if line and line[0] not in "#[":
            name, _, value = line.partition("=")
            settings.setdefault(name, []).append(value)
    return settings


def manifests() -> dict[str, dict]:
    """Return every manifest by its kind."""
    found = {}
    for name in yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]:
        content = yaml.safe_load((KUBERNETES / name).read_text(encoding="utf-8"))
        assert content["kind"] not in found
        found[content["kind"]] = content
    return found


def pod() -> dict:
    return manifests()["Deployment"]["spec"]["template"]


def service() -> dict:
    [container] = pod()["spec"]["containers"]
    return container


def environment(container: dict) -> dict[str, str | None]:
    return {entry["name"]: entry.get("value") for entry in container["env"]}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_understands_every_setting_of_the_unit(tmp_path) -> None:
    text = (DEPLOY / "evergreen.service").read_text(encoding="utf-8")
    [command] = unit()["ExecStart"]
    copy = tmp_path / "evergreen.service"
    copy.write_text(text.replace(command, sys.executable), encoding="utf-8")  # what it starts must exist
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, timeout=120)
    assert [line for line in done.stderr.splitlines() if copy.name in line] == []


def test_the_unit_starts_a_command_that_there_is_and_keeps_it_alive() -> None:
    settings = unit()
    program, *arguments = settings["ExecStart"][0].split()
    assert Path(program).name == "evergreen" and _parser().parse_args(arguments).run
    assert settings["Restart"] == ["always"] and settings["StartLimitIntervalSec"] == ["0"]
    assert settings["KillMode"] == ["mixed"] and settings["OOMPolicy"] == ["continue"]


def test_the_unit_may_write_where_its_state_lies_and_nowhere_else() -> None:
    settings = unit()
    assert f"EVERGREEN_HOME={STATE}" in settings["Environment"][0].split()
    assert settings["ReadWritePaths"] == [STATE] and settings["StateDirectory"] == [Path(STATE).name]
    assert settings["ProtectSystem"] == ["strict"] and settings["NoNewPrivileges"] == ["yes"]
    assert settings["StateDirectoryMode"] == ["0700"] and settings["UMask"] == ["0077"] and settings["LimitCORE"] == ["0"]


def test_an_open_file_is_allowed_for_every_connection() -> None:
    assert int(unit()["LimitNOFILE"][0]) > 2 * load_params(ROOT / "params.yaml").serve.connections


def test_a_stop_leaves_time_for_what_is_in_work() -> None:
    """The front drains and brings the request log to the database, then the workers end; only then may systemd kill."""
    assert SECONDS_TO_DRAIN + SECONDS_TO_RECORD <= GRACE
    assert int(unit()["TimeoutStopSec"][0]) > 2 * GRACE


def test_every_manifest_is_applied() -> None:
    listed = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]
    assert {path.name for path in KUBERNETES.glob("*.yaml")} == {"kustomization.yaml", *listed}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomize_builds_them() -> None:
    done = subprocess.run(["kubectl", "kustomize", str(KUBERNETES)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    kinds = {document["kind"]: document for document in yaml.safe_load_all(done.stdout)}
    assert kinds.keys() == manifests().keys()
    assert all(document["metadata"].get("namespace", "evergreen") == "evergreen" for document in kinds.values())


def test_all_select_the_pods_of_the_deployment() -> None:
    found = manifests()
    labels = pod()["metadata"]["labels"]
    selectors = [
        found["Deployment"]["spec"]["selector"]["matchLabels"],
        found["Service"]["spec"]["selector"],
        found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        *(spread["labelSelector"]["matchLabels"] for spread in pod()["spec"]["topologySpreadConstraints"]),
    ]
    assert all(selector == labels for selector in selectors)
    target = found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", found["Deployment"]["metadata"]["name"])
    assert "replicas" not in found["Deployment"]["spec"]  # or each apply would undo what the autoscaler did


def test_ports_have_one_name_everywhere() -> None:
    [port] = service()["ports"]
    assert port == {"name": "http", "containerPort": 3000}
    assert [entry["targetPort"] for entry in manifests()["Service"]["spec"]["ports"]] == ["http"]
    assert {probe["httpGet"]["port"] for name, probe in service().items() if name.endswith("Probe")} == {"http"}
    assert [entry["port"] for rule in manifests()["NetworkPolicy"]["spec"]["ingress"] for entry in rule["ports"]] == ["http"]
    notes = pod()["metadata"]["annotations"]
    assert (notes["prometheus.io/port"], notes["prometheus.io/path"]) == ("3000", METRICS)


def test_probes_ask_routes_that_need_no_key() -> None:
    paths = {name: probe["httpGet"]["path"] for name, probe in service().items() if name.endswith("Probe")}
    assert paths == {"startupProbe": READY, "readinessProbe": READY, "livenessProbe": LIVE}


def test_a_rolling_update_takes_no_pod_away_before_the_next_is_ready() -> None:
    strategy = manifests()["Deployment"]["spec"]["strategy"]
    assert strategy["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_a_pod_has_time_to_drain_before_it_is_killed() -> None:
    before = int(service()["lifecycle"]["preStop"]["exec"]["command"][1])
    work = load_params(ROOT / "params.yaml").package.timeout
    assert before >= 5
    assert pod()["spec"]["terminationGracePeriodSeconds"] >= before + work + 20


def test_containers_have_no_rights_and_write_to_their_volumes_alone() -> None:
    spec = pod()["spec"]
    assert spec["securityContext"]["runAsNonRoot"] and not spec["automountServiceAccountToken"]
    for container in [*spec["containers"], *spec["initContainers"]]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"] and container["resources"]["requests"]["cpu"]
        assert {mount["name"] for mount in container["volumeMounts"]} <= {volume["name"] for volume in spec["volumes"]}


def test_state_lies_in_a_volume_and_the_keys_come_where_they_are_looked_for() -> None:
    assert environment(service())["EVERGREEN_HOME"] == STATE
    mounts = {mount["mountPath"]: mount for mount in service()["volumeMounts"]}
    assert not mounts[STATE].get("readOnly") and "/tmp" in mounts
    [first] = pod()["spec"]["initContainers"]
    *_, mode, source, target = first["command"]
    assert (mode, target) == ("0600", f"{STATE}/{FILE}")
    mounted = {mount["mountPath"] for mount in first["volumeMounts"]}
    assert {str(Path(source).parent), STATE} <= mounted


def test_secrets_come_from_a_secret() -> None:
    assert all("://" not in path.read_text(encoding="utf-8") for path in KUBERNETES.glob("*.yaml"))
    [entry] = [entry for entry in service()["env"] if "valueFrom" in entry]
    keys = next(volume for volume in pod()["spec"]["volumes"] if volume["name"] == "keys")
    assert entry["name"] == LOG_URL
    assert entry["valueFrom"]["secretKeyRef"]["name"] == keys["secret"]["secretName"]


def test_prometheus_finds_the_pods_by_their_annotations() -> None:
    [job] = yaml.safe_load((DEPLOY / "prometheus-scrape.yaml").read_text(encoding="utf-8"))["scrape_configs"]
    asked = " ".join(label for rule in job["relabel_configs"] for label in rule["source_labels"])
    for note in pod()["metadata"]["annotations"]:
        assert f"annotation_{note.replace('.', '_').replace('/', '_')}" in asked
    assert job["authorization"]["credentials_file"]


def exposed() -> dict[str, dict[str, set[str]]]:
    """Return every series that /metrics can show: its labels and the values they take when everything has happened once."""
    metrics = Metrics()
    models = challenged("canary", share=0.5)
    models.champion_model.connected, models.champion_model.lost = 1, 0
    metrics.watch(FakeRecorder(), models)
    metrics.request("/predict", 503, 0.1)
    for reason in reasons():
        metrics.refused(reason)
    metrics.answered("v1", "champion", "card", True, 0.1)
    metrics.batch("v1", 2)
    metrics.shadow("v2", True)
    metrics.shadow_lost("v2", 1, "busy")
    metrics.failed("challenger", "not ready")
    metrics.cache(True)
    metrics.feedback("recorded")
    found: dict[str, dict[str, set[str]]] = {"up": {"job": {"evergreen"}}}
    for family in text_string_to_metric_families(metrics.exposition()[0].decode()):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).add(value)
    return found


def reasons() -> set[str]:
    """Return the reasons for which the service refuses requests, from its code."""
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "serving").rglob("*.py"))
    return set(re.findall(r'reason="([a-z ]+)"', code))


def alerts() -> list[dict]:
    [group] = yaml.safe_load((DEPLOY / "prometheus-rules.yaml").read_text(encoding="utf-8"))["groups"]
    return group["rules"]


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_alerts_look_at_series_that_there_are(rule) -> None:
    series = exposed()
    looked_at = re.findall(r"\b(up|evergreen_\w+)\b(?:\{([^}]*)\})?", rule["expr"])
    assert looked_at
    for name, matchers in looked_at:
        assert name in series
        for label, how, value in re.findall(r'(\w+)\s*(=~|=)\s*"([^"]*)"', matchers):
            values = series[name][label]
            wanted = value.split("|") if how == "=~" else [value]
            assert all(any(re.fullmatch(one, known) for known in values) for one in wanted), (name, label, value)
    for label in re.findall(r"by \((\w+)\)", rule["expr"]):
        assert any(label in series[name] or label == "le" for name, _ in looked_at)


def test_every_alert_says_what_to_do() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert rule["annotations"].keys() == {"summary", "action"}
