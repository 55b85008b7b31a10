"""What deploy/prefect holds to run flows in containers agrees with itself and with the project."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from flows.deploy import read_template

ROOT = Path(__file__).parents[1]
PREFECT = ROOT / "deploy" / "prefect"
ENTER = PREFECT / "enter.sh"
DOCKERFILE = (PREFECT / "Dockerfile").read_text(encoding="utf-8")
IDENTITY = {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org"}
PATIENCE = 60


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
    at_work = subprocess.Popen([ENTER, "sh", "-c", "echo ready; read line; cat word"], env=environment(origin), stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert at_work.stdout is not None and at_work.stdout.readline() == "ready\n"
    commit(origin, "second")
    assert entered(origin, "cat", "word").stdout == "first"
    assert at_work.communicate("go on\n", timeout=PATIENCE)[0] == "first"
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


def test_the_images_packages_are_all_of_ours() -> None:
    copied = {line.split()[0] for line in re.findall(r"^COPY (\S+ \S+)$", DOCKERFILE, re.MULTILINE)}
    packages = re.findall(r'^  ("evergreen".*|"flows".*)$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    ours = {name.split(".")[0] for line in packages for name in re.findall(r'"([\w.]+)"', line)}
    assert ours <= copied


def test_prefects_own_pin_is_named_alike_everywhere() -> None:
    pinned = re.search(r"^prefect==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned and yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["prefect-version"] == pinned[1]
