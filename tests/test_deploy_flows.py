"""What deploy/prefect holds to run flows in containers agrees with itself and with the project."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.deployments import read_template
from tests.postgresql import Server
from tests.prefect_factories import ask, evergreen, prefect_server, stand_in_project, until
from tests.prefect_factories import environment as environment_of

ROOT = Path(__file__).parents[1]
PREFECT = ROOT / "deploy" / "prefect"
ENTER = PREFECT / "enter.sh"
DOCKERFILE = (PREFECT / "Dockerfile").read_text(encoding="utf-8")
IDENTITY = {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org"}
PATIENCE = 60
CLUSTER = PREFECT / "cluster"
LOCKED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
GUIDE = ROOT / "docs" / "cluster.md"


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, env=os.environ | IDENTITY, capture_output=True, text=True, check=True).stdout.strip()


def commit(origin: Path, word: str) -> None:
    (origin / "word").write_text(word)
    git(origin, "add", "word")
    git(origin, "commit", "--quiet", f"--message={word}")


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    folder = tmp_path / "origin"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, "first")
    return folder


def environment(origin: Path) -> dict[str, str]:
    volume = origin.parent / "volume"
    places = {"EVERGREEN_HOME": f"{volume}/home", "EVERGREEN_PROJECT": f"{volume}/project", "EVERGREEN_REPOSITORY": str(origin)}
    return os.environ | IDENTITY | places


def entered(origin: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([ENTER, *command], env=environment(origin), capture_output=True, text=True, timeout=PATIENCE)


def test_the_first_run_makes_the_clone_and_works_in_it(origin: Path) -> None:
    done = entered(origin, "sh", "-c", 'pwd; cat word; exit "$1"', "sh", "7")
    assert (done.stdout.split(), done.returncode) == ([str(origin.parent / "volume" / "project"), "first"], 7)


def test_each_run_begins_with_the_newest_commit(origin: Path) -> None:
    assert entered(origin, "cat", "word").stdout == "first"
    commit(origin, "second")
    assert entered(origin, "cat", "word").stdout == "second"


def test_the_code_stays_as_it_is_while_a_run_is_at_work(origin: Path) -> None:
    entered(origin, "true")
    words = 'echo ready; until [ -e "$EVERGREEN_HOME/go" ]; do sleep 0.05; done; cat word'
    with subprocess.Popen([ENTER, "sh", "-c", words], env=environment(origin), stdout=subprocess.PIPE, text=True) as at_work:
        assert at_work.stdout is not None and at_work.stdout.readline() == "ready\n"
        commit(origin, "second")
        assert entered(origin, "cat", "word").stdout == "first"
        (origin.parent / "volume" / "home" / "go").touch()
        assert at_work.communicate(timeout=PATIENCE)[0] == "first"
    assert entered(origin, "cat", "word").stdout == "second"


def test_two_first_runs_at_once_make_one_clone(origin: Path) -> None:
    both = [subprocess.Popen([ENTER, "cat", "word"], env=environment(origin), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [one.communicate(timeout=PATIENCE)[0] for one in both] == ["first", "first"]


def test_a_run_goes_on_with_what_is_there_when_the_repository_cannot_be_reached(origin: Path) -> None:
    entered(origin, "true")
    origin.rename(origin.with_name("gone"))
    done = entered(origin, "cat", "word")
    assert (done.stdout, done.returncode) == ("first", 0)
    assert "could not be brought up to date" in done.stderr


def test_a_clone_that_cannot_be_made_is_no_run(origin: Path) -> None:
    origin.rename(origin.with_name("gone"))
    done = entered(origin, "echo", "never")
    assert done.returncode != 0 and not done.stdout
    assert not (origin.parent / "volume" / "project").exists()


def test_what_a_run_puts_on_record_goes_where_the_clone_came_from(origin: Path) -> None:
    git(origin, "branch", "evergreen/models")
    made = entered(origin, "sh", "-c", "git update-ref refs/heads/evergreen/models $(git commit-tree -p HEAD -m v1 HEAD^{tree}) &&"
                   " git tag model@v1.0.0 evergreen/models && exit 3")  # fmt: skip
    assert (made.returncode, made.stderr) == (3, "")
    assert git(origin, "log", "-1", "--format=%s", "model@v1.0.0") == git(origin, "log", "-1", "--format=%s", "evergreen/models") == "v1"
    git(origin, "tag", "model@v1.1.0", "main")  # and what somebody else has put there comes with the next run
    assert entered(origin, "git", "tag").stdout.split() == ["model@v1.0.0", "model@v1.1.0"]


def test_a_record_that_cannot_be_pushed_is_told_and_changes_nothing_of_the_run(origin: Path) -> None:
    entered(origin, "true")
    gone = origin.with_name("gone")
    done = entered(origin, "sh", "-c", f"mv {origin} {gone}; exit 5")
    assert done.returncode == 5 and "the next run tries again" in done.stderr


def test_a_run_hears_of_its_end_and_has_the_last_word(origin: Path) -> None:
    entered(origin, "true")
    polite = "trap 'echo ended; exit 4' TERM; echo ready; while :; do sleep 0.1; done"
    run = subprocess.Popen([ENTER, "sh", "-c", polite], env=environment(origin), stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None and run.stdout.readline() == "ready\n"
    run.terminate()
    assert (run.communicate(timeout=PATIENCE)[0], run.returncode) == ("ended\n", 4)


def test_the_image_has_the_user_and_the_places_of_the_pools() -> None:
    job = read_template(PREFECT / "kubernetes.json")
    pod = job["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    user = str(pod["securityContext"]["runAsUser"])
    assert re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE)[-1] == f"{user}:{user}"
    assert f"--uid {user}" in DOCKERFILE and f"--gid {user}" in DOCKERFILE
    places = job["variables"]["properties"]["env"]["default"]
    for name in ("EVERGREEN_HOME", "EVERGREEN_PROJECT"):
        assert f"{name}={places[name]}" in DOCKERFILE
    [volume] = re.findall(r"^VOLUME (.+)$", DOCKERFILE, re.MULTILINE)
    assert all(places[name].startswith(f"{volume}/") for name in ("EVERGREEN_HOME", "EVERGREEN_PROJECT"))


def test_the_image_is_made_from_a_plain_name_and_the_pins() -> None:
    images = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert images == ["python:3.11-slim", "flows"]  # no registry's name
    installs = re.findall(r"pip install .*", DOCKERFILE)
    assert installs and all("--constraint constraints.txt" in line for line in installs)
    assert all((ROOT / name).exists() for line in re.findall(r"^COPY (?!--)(.+)$", DOCKERFILE, re.MULTILINE) for name in line.split()[:-1])


def test_the_image_reaches_the_remotes_that_the_guide_names() -> None:
    """Of each kind the image holds DVC's plugin by an extra, pinned, or the guide's build argument brings it."""
    guide = GUIDE.read_text(encoding="utf-8")
    [extras] = re.findall(r"pip install .* '\.\[([\w,]+)\]' \$DVC_PLUGINS$", DOCKERFILE, re.MULTILINE)
    known = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    held = {package for extra in extras.split(",") for package in known[extra]}
    assert 'ARG DVC_PLUGINS=""' in DOCKERFILE.partition("pip install")[0]
    asked = set(re.findall(r"--build-arg DVC_PLUGINS=([\w-]+)", guide))
    [line] = [line for line in guide.splitlines() if "dvc remote add --default store" in line]
    named = {f"dvc-{kind}" for kind in re.findall(r"(\w+)://", line)}
    assert named and named <= held | asked
    assert "dvc-ssh" in held and re.search(r"^dvc-ssh==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_images_packages_are_all_of_ours() -> None:
    copied = {line.split()[0] for line in re.findall(r"^COPY (\S+ \S+)$", DOCKERFILE, re.MULTILINE)}
    packages = re.findall(r'^  ("evergreen".*|"flows".*)$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    ours = {name.split(".")[0] for line in packages for name in re.findall(r'"([\w.]+)"', line)}
    assert ours <= copied


def test_prefects_own_pin_is_named_alike_everywhere() -> None:
    pinned = re.search(r"^prefect==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned and yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["prefect-version"] == pinned[1]


def manifests() -> dict[tuple[str, str], dict[str, Any]]:
    """Return every manifest by its kind and name."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for name in kustomization()["resources"]:
        for content in yaml.safe_load_all((CLUSTER / name).read_text(encoding="utf-8")):
            key = (content["kind"], content["metadata"]["name"])
            assert key not in found
            found[key] = content
    return found


def kustomization() -> dict[str, Any]:
    return dict(yaml.safe_load((CLUSTER / "kustomization.yaml").read_text(encoding="utf-8")))


def pods() -> dict[str, dict[str, Any]]:
    return {name: content["spec"]["template"] for (kind, name), content in manifests().items() if kind == "Deployment"}


def containers() -> dict[str, dict[str, Any]]:
    return {container["name"]: container for pod in pods().values() for container in pod["spec"]["containers"]}


def job() -> dict[str, Any]:
    template = read_template(PREFECT / "kubernetes.json")
    defaults = {name: schema.get("default") for name, schema in template["variables"]["properties"].items()}
    return {"defaults": defaults, "pod": template["job_configuration"]["job_manifest"]["spec"]["template"]}


def test_every_manifest_is_applied_in_one_namespace() -> None:
    assert {path.name for path in CLUSTER.glob("*.yaml")} == {"kustomization.yaml", *kustomization()["resources"]}
    assert kustomization()["namespace"] == job()["defaults"]["namespace"] == "evergreen"
    assert all("namespace" not in content["metadata"] for content in manifests().values())


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomize_builds_them_with_the_images_named_once() -> None:
    done = subprocess.run(["kubectl", "kustomize", str(CLUSTER)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    built = list(yaml.safe_load_all(done.stdout))
    assert {(one["kind"], one["metadata"]["name"]) for one in built} == manifests().keys()
    found = [one["spec"]["template"]["spec"]["containers"] for one in built if one["kind"] == "Deployment"]
    images = {container["image"] for all_of_them in found for container in all_of_them}
    assert images == {f"{entry['newName']}:{entry['newTag']}" for entry in kustomization()["images"]}


def test_selectors_find_the_pods_they_mean() -> None:
    found = manifests()
    for name, pod in pods().items():
        assert found["Deployment", name]["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"]
    labels = pods()["evergreen-prefect"]["metadata"]["labels"]
    assert found["Service", "evergreen-prefect"]["spec"]["selector"] == labels
    assert found["NetworkPolicy", "evergreen-prefect"]["spec"]["podSelector"]["matchLabels"] == labels
    [[source]] = [rule["from"] for rule in found["NetworkPolicy", "evergreen-prefect"]["spec"]["ingress"]]
    [may_ask] = source["podSelector"]["matchExpressions"]
    component = "app.kubernetes.io/component"
    others = {pod["metadata"]["labels"][component] for name, pod in pods().items() if name != "evergreen-prefect"}
    assert set(may_ask["values"]) == {*others, job()["pod"]["metadata"]["labels"][component]}


def test_the_server_is_reached_where_the_others_look_for_it() -> None:
    [port] = manifests()["Service", "evergreen-prefect"]["spec"]["ports"]
    [open_port] = containers()["server"]["ports"]
    assert (port["targetPort"], str(open_port["containerPort"])) == (open_port["name"], containers()["server"]["command"][-1])
    for name in ("worker", "alerts", "releases"):
        assert plain(containers()[name])["PREFECT_API_URL"] == "http://evergreen-prefect/api"
    assert port["port"] == 80


def plain(container: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}


def secrets(container: dict[str, Any]) -> dict[str, tuple[str, str]]:
    wanted = [(entry["name"], entry["valueFrom"].get("secretKeyRef")) for entry in container["env"] if "valueFrom" in entry]
    return {name: (reference["name"], reference["key"]) for name, reference in wanted if reference}


def test_pods_have_no_rights_and_write_to_their_volumes_alone() -> None:
    for name, pod in pods().items():
        assert pod["spec"]["securityContext"]["runAsNonRoot"] and pod["spec"]["enableServiceLinks"] is False
        assert pod["spec"]["securityContext"]["runAsUser"] == job()["pod"]["spec"]["securityContext"]["runAsUser"]
        assert (pod["spec"].get("serviceAccountName") is None) == (pod["spec"].get("automountServiceAccountToken") is False)
        for container in pod["spec"]["containers"]:
            assert container["securityContext"] == LOCKED
            assert container["resources"]["limits"]["memory"] and container["resources"]["requests"]["cpu"]
            mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
            folders = [value for value in plain(container).values() if value.startswith("/") and value != "/api"]
            assert folders and all(any(folder.startswith(f"{mount}/") for mount in mounted) for folder in folders), name


def test_only_the_worker_may_ask_kubernetes_and_only_for_jobs() -> None:
    with_account = [name for name, pod in pods().items() if "serviceAccountName" in pod["spec"]]
    assert with_account == ["evergreen-worker"]
    found = manifests()
    assert found["RoleBinding", "evergreen-worker"]["subjects"] == [{"kind": "ServiceAccount", "name": "evergreen-worker"}]
    writes = {"create", "update", "patch", "delete"}
    for rule in found["Role", "evergreen-worker"]["rules"]:
        assert rule["resources"] == ["jobs"] or not writes & set(rule["verbs"])
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]] and "secrets" not in rule["resources"]


def test_the_worker_takes_runs_of_the_pool_that_the_guide_makes() -> None:
    command = containers()["worker"]["command"]
    pool = command[command.index("--pool") + 1]
    assert f"--pool {pool} --type kubernetes" in GUIDE.read_text(encoding="utf-8")
    environment = plain(containers()["worker"])
    kept = "PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET"
    assert secrets(containers()["worker"])["PREFECT_API_AUTH_STRING"] == (environment[f"{kept}_NAME"], environment[f"{kept}_KEY"])


def test_the_guide_makes_every_secret_and_every_volume_that_is_asked_for() -> None:
    guide = GUIDE.read_text(encoding="utf-8")
    asked = {reference for container in containers().values() for reference in secrets(container).values()}
    [run] = job()["pod"]["spec"]["containers"]
    for name, key in asked | set(secrets(run).values()):
        [made] = re.findall(rf"create secret generic {re.escape(name)} ((?:.*\\\n)*.+)", guide)
        assert f"--from-literal={key}=" in made
    assert ("PersistentVolumeClaim", job()["defaults"]["claim"]) in manifests()
    assert "://" not in "".join(line for line in (CLUSTER / "server.yaml").read_text(encoding="utf-8").splitlines() if "#" not in line)


def test_what_up_runs_beside_server_worker_and_service_runs_at_the_desk() -> None:
    """A process that `evergreen up` comes to run has a place in the cluster, too."""
    code = (ROOT / "flows" / "commands" / "up.py").read_text(encoding="utf-8")
    run_by_up = set(re.findall(r'sys\.executable, "-m", "(flows\.[\w.]+)"', code))
    desk = pods()["evergreen-desk"]["spec"]["containers"]
    assert run_by_up and {container["command"][2] for container in desk} == run_by_up
    places = job()["defaults"]["env"]
    for container in desk:
        assert container["command"][-1] == places["EVERGREEN_PROJECT"] and plain(container)["EVERGREEN_HOME"] == places["EVERGREEN_HOME"]
    [claim] = [
        volume["persistentVolumeClaim"]["claimName"] for volume in pods()["evergreen-desk"]["spec"]["volumes"] if volume["name"] == "state"
    ]
    assert claim == job()["defaults"]["claim"]


def test_probes_ask_routes_that_need_no_password() -> None:
    paths = {probe["httpGet"]["path"] for name, probe in containers()["server"].items() if name.endswith("Probe")}
    assert paths == {"/api/health", "/api/ready"}


@pytest.mark.long
def test_the_server_comes_up_with_the_manifests_settings_on_postgresql_and_asks_for_its_password(
    tmp_path: Path, postgresql: Server
) -> None:
    container = containers()["server"]
    settings = {name: value.replace("/tmp/", f"{tmp_path}/") for name, value in plain(container).items()}
    word = "evergreen:not-so-secret"
    told = {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": postgresql.fresh().replace("+psycopg", "+asyncpg"),
        "PREFECT_SERVER_API_AUTH_STRING": word,
    }
    assert told.keys() == secrets(container).keys()
    with prefect_server(tmp_path / "server", **settings, **told) as api:
        for probe in ("health", "ready"):
            with urllib.request.urlopen(f"{api}/{probe}", timeout=30) as answer:
                assert answer.status == 200
        with pytest.raises(urllib.error.HTTPError, match="401"):
            ask(api, "deployments/filter")
        assert (tmp_path / "ui").is_dir() and not list(tmp_path.rglob("prefect.db*"))
        project = stand_in_project(tmp_path / "project")
        stranger = environment_of(tmp_path / "home", PREFECT_API_URL=api)
        refused = evergreen(project, "deploy", env=stranger)
        assert refused.returncode == 1 and "Traceback" not in refused.stderr and "401" in refused.stderr
        known = {**stranger, "PREFECT_API_AUTH_STRING": word}
        done = evergreen(project, "deploy", "--pool", "evergreen-cluster", "--type", "kubernetes", env=known)
        assert done.stdout.split() == ["monitor/monitor", "retrain/retrain"], done.stderr
        assert word not in done.stdout + done.stderr
        due = until(lambda: json.loads(evergreen(project, "status", "--json", env=known).stdout)["upcoming"])
        assert [run["deployment"] for run in due] == ["monitor"]


@pytest.mark.long
def test_what_a_job_runs_completes_its_flow_run_in_the_clone(tmp_path: Path) -> None:
    """As in a container, but for the container: the job's environment, the image's entrypoint, and the command that a worker gives."""
    origin = stand_in_project(tmp_path / "origin")
    git(origin, "init", "--quiet", "--initial-branch=main")
    git(origin, "add", "--all")
    git(origin, "commit", "--quiet", "--message=A project")
    with prefect_server(tmp_path / "server") as api:
        mine = environment_of(tmp_path / "home", PREFECT_API_URL=api)
        done = evergreen(origin, "deploy", "--pool", "evergreen-cluster", "--type", "kubernetes", env=mine)
        assert done.returncode == 0, done.stderr
        [monitor] = [item for item in ask(api, "deployments/filter") if item["name"] == "monitor"]
        run = ask(api, f"deployments/{monitor['id']}/create_flow_run", {"state": {"type": "PENDING"}})
        places = {name: value.replace("/var/lib/evergreen", f"{tmp_path}/volume") for name, value in job()["defaults"]["env"].items()}
        own = {"HOME": str(tmp_path), "PREFECT_HOME": f"{tmp_path}/prefect", "EVERGREEN_REPOSITORY": str(origin)}
        env = {**mine, **monitor["job_variables"]["env"], **places, **own, "PREFECT__FLOW_RUN_ID": run["id"]}
        command = [str(ENTER), sys.executable, "-m", "prefect", "flow-run", "execute"]
        ran = subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, timeout=240)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        found = ask(api, "flow_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
    assert [one["state_name"] for one in found] == ["Completed"]
    clone = tmp_path / "volume" / "project"
    word = (tmp_path / "volume" / "home" / "ran-monitor").read_text().splitlines()
    assert word == [str(clone), ".", str(clone / "flows" / "monitor.py")]
