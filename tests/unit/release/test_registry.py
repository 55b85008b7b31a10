"""Versions as commits and tags, made beside a person's checkout."""

import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from evergreen.errors import RegistryError
from evergreen.release.plumbing import STALE
from evergreen.release.registry import Registry
from tests.project_factories import git, parents
from tests.registry_factories import candidate, checkout, repository


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(repository(tmp_path / "project"))


def test_a_dirty_checkout_with_hooks_that_fail_is_left_as_it_is(registry: Registry) -> None:
    root = registry.git.root
    git(root, "-c", "core.hooksPath=/dev/null", "add", "new.py")
    before = checkout(root)
    made = candidate(registry)
    assert registry.advance(made, was=None)
    version = registry.register(made, model_version="abc")
    registry.assign(version)
    assert checkout(root) == before
    assert registry.read("code.py") == b"print(1)\n"
    assert registry.read("new.py") is None


def test_a_commit_holds_exactly_what_was_given(registry: Registry) -> None:
    root, head = registry.git.root, registry.resolve("main")
    raw = b"line\r\n\x00\xff last"
    (root / ".gitattributes").write_text("* text=auto eol=lf\n")
    made = registry.commit({"deep/er/file": raw, "params.yaml": None}, "told\n", base=head, parents=[head])
    assert registry.read("deep/er/file", made) == raw
    assert registry.read("params.yaml", made) is None
    assert registry.read("deep/er", made) is None
    assert parents(registry.git.root, made) == [head]
    assert git(root, "log", "-1", "--format=%B", made).strip() == "told"


def test_the_branch_moves_only_from_where_it_was_known_to_be(registry: Registry) -> None:
    one, other = candidate(registry, 1), candidate(registry, 2)
    assert registry.head() is None
    assert registry.advance(one, was=None)
    assert not registry.advance(other, was=None)
    assert not registry.advance(other, was=other)
    assert registry.head() == one
    assert registry.advance(other, was=one)


def test_a_branch_that_a_person_has_checked_out_does_not_move(registry: Registry) -> None:
    one = candidate(registry)
    assert registry.advance(one, was=None)
    folder = registry.git.root.with_name("look")
    git(registry.git.root, "-c", "core.hooksPath=/dev/null", "worktree", "add", "--quiet", str(folder), "evergreen/models")
    with pytest.raises(RegistryError, match="git switch --detach"):
        registry.advance(candidate(registry, 2), was=one)
    git(folder, "-c", "core.hooksPath=/dev/null", "switch", "--quiet", "--detach")
    assert registry.advance(candidate(registry, 2), was=one)


def test_versions_are_counted_up_and_found_by_every_name(registry: Registry) -> None:
    commits = [candidate(registry, number) for number in range(12)]
    names = [registry.register(commit, model_version=f"model{number:03}").name for number, commit in enumerate(commits)]
    assert names[:3] == ["v1.0.0", "v1.1.0", "v1.2.0"]
    assert [version.name for version in registry.versions()] == names  # v1.10.0 after v1.9.0
    for name in ("v1.10.0", "1.10.0", "model@v1.10.0", "model010", commits[10][:10]):
        assert registry.find(name).commit == commits[10]
    assert registry.register(commits[3], model_version="model003").name == "v1.3.0"
    assert registry.register(candidate(registry, 12), model_version="new012", breaking=True).name == "v2.0.0"
    with pytest.raises(RegistryError, match=r"fits several versions; they are: v1\.0\.0 \(model000\)"):
        registry.find("model0")
    with pytest.raises(RegistryError, match="is no version here"):
        registry.find("v9.0.0")


def test_a_version_is_named_once(registry: Registry) -> None:
    one, other = candidate(registry, 1), candidate(registry, 2)
    assert registry.tag("v1.0.0", one, model_version="abc") == registry.tag("v1.0.0", one)
    with pytest.raises(RegistryError, match=f"v1.0.0 is {one[:12]} already"):
        registry.tag("v1.0.0", other)
    with pytest.raises(RegistryError, match="is no version"):
        registry.tag("1.0", one)


def test_a_version_that_was_taken_back_is_none_and_its_name_is_not_given_again(registry: Registry) -> None:
    one, other = candidate(registry, 1), candidate(registry, 2)
    registry.register(one, model_version="abc")
    assert registry.git.tag("model@v1.0.0!", one, "taken back")
    assert registry.versions() == []
    assert registry.register(other, model_version="def").name == "v1.1.0"
    with pytest.raises(RegistryError, match="taken back"):
        registry.tag("v1.0.0", one)


def test_live_is_what_the_newest_assignment_says_also_beyond_ten(registry: Registry) -> None:
    versions = [registry.register(candidate(registry, number), model_version=f"model{number}") for number in range(2)]
    assert registry.live() is None
    for turn in range(11):
        registry.assign(versions[turn % 2])
    assert registry.assign(versions[1], "staging") == "model#staging#12"
    assert registry.live() == versions[0]
    assert registry.live("staging") == versions[1]
    times = [tag.time for tag in sorted(registry.git.tags("model#*"), key=lambda tag: int(tag.name.rpartition("#")[2]))]
    assert times == sorted(set(times))


def test_many_at_once_give_every_commit_one_name(registry: Registry) -> None:
    commits = [candidate(registry, number) for number in range(4)]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda commit: registry.register(commit, model_version="m"), commits * 2))
        tags = list(pool.map(registry.assign, made))
    assert {version.commit: version.name for version in made} == {version.commit: version.name for version in registry.versions()}
    assert len(registry.versions()) == len(commits)
    assert sorted(tags) == sorted(f"model#prod#{number}" for number in range(1, 9))


def test_without_an_identity_the_house_commits(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("GIT_", "EMAIL")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    assert registry.git.person() is None
    assert git(registry.git.root, "log", "-1", "--format=%an <%ae>", candidate(registry)).strip() == "Evergreen <evergreen@localhost>"
    assert registry.register(candidate(registry), model_version="abc").name == "v1.0.0"
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Ada")
    monkeypatch.setenv("GIT_AUTHOR_EMAIL", "ada@example.org")
    monkeypatch.setenv("GIT_COMMITTER_NAME", "Ada")
    monkeypatch.setenv("GIT_COMMITTER_EMAIL", "ada@example.org")
    assert git(registry.git.root, "log", "-1", "--format=%an <%ae>", candidate(registry)).strip() == "Ada <ada@example.org>"


def test_the_variables_of_a_hook_lead_nowhere_else(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = repository(tmp_path / "other")
    before = checkout(other)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    again = Registry(registry.git.root)
    made = candidate(again)
    assert again.advance(made, was=None)
    for name in ("GIT_DIR", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name)
    assert registry.head() == made
    assert checkout(other) == before


def test_the_lock_of_a_killed_git_is_removed_and_a_young_one_is_not(registry: Registry) -> None:
    made = candidate(registry)
    lock = registry.git.root / ".git" / "refs" / "heads" / "evergreen" / "models.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    assert not registry.advance(made, was=None)
    assert lock.exists()
    old = time.time() - STALE - 1
    os.utime(lock, (old, old))
    assert not registry.advance(made, was=None)  # heals
    assert registry.advance(made, was=None)


def test_a_project_below_the_top_has_a_branch_and_names_of_its_own(tmp_path: Path) -> None:
    root = repository(tmp_path / "project")
    (root / "sub").mkdir()
    (root / "sub" / "params.yaml").write_text("here\n")
    git(root, "-c", "core.hooksPath=/dev/null", "add", "sub")
    git(root, "-c", "core.hooksPath=/dev/null", "commit", "--quiet", "--message=sub")
    registry = Registry(root / "sub")
    made = candidate(registry)
    assert registry.read("params.yaml", made) == b"seed: 1\n"
    assert git(root, "show", f"{made}:sub/params.yaml") == "seed: 1\n"
    assert git(root, "show", f"{made}:params.yaml") == "seed: 17\n"
    assert registry.advance(made, was=None)
    registry.assign(registry.register(made, model_version="abc"))
    assert git(root, "tag", "--list").split() == ["sub=model#prod#1", "sub=model@v1.0.0"]
    assert registry.live() == registry.find("v1.0.0")


def test_outside_a_repository_the_message_says_so(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="not a git repository"):
        Registry(tmp_path)


def test_git_finds_nothing_wrong_with_what_was_made(registry: Registry) -> None:
    made = candidate(registry)
    registry.advance(made, was=None)
    registry.assign(registry.register(made, model_version="abc", why="Größer; better"), why="tested")
    done = subprocess.run(["git", "fsck", "--strict", "--full"], cwd=registry.git.root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.replace("notice: HEAD points to an unborn branch", "").strip()) == (0, "")
