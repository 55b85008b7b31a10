"""The ledger: what is written stays, and whoever changes a line is found out."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from evergreen.errors import RegistryError
from evergreen.release.ledger import LEDGER, Entry, Ledger
from evergreen.release.registry import Registry
from evergreen.release.signing import create_key, read_trusted
from tests.project_factories import git, parents
from tests.registry_factories import candidate, checkout, faults, repository, signed_ledger

ROOT = Path(__file__).parents[3]


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "signing"


@pytest.fixture
def ledger(tmp_path: Path, keys: Path) -> Ledger:
    return signed_ledger(Registry(repository(tmp_path / "project")), keys)


def lived(ledger: Ledger, *since: float) -> list[Entry]:
    """Bring a candidate in, and make versions of it live at the given times."""
    made = candidate(ledger.registry)
    entries = [ledger.append("candidate", who="retrain", why="drift", commit=made, model_version="abc", lands=made)]
    for moment in since:
        version = ledger.registry.register(made, model_version="abc")
        if ledger.registry.live() != version:
            ledger.registry.assign(version)
        facts = {"since": moment}
        told = {"version": version.name, "model_version": "abc", "commit": made}
        entries.append(ledger.append("promotion", who="Ada", why=f"at {moment}", facts=facts, **told))
    return entries


def rewritten(ledger: Ledger, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Change the ledger behind its back, in a commit like any other."""
    head = ledger.registry.head()
    assert head is not None
    lines = (ledger.registry.read(LEDGER) or b"").splitlines()
    made = ledger.registry.commit({LEDGER: b"".join(line + b"\n" for line in change(lines))}, "x", base=head, parents=[head])
    assert ledger.registry.advance(made, was=head)


def test_a_candidate_lands_and_is_told_of_in_one_step_beside_a_dirty_checkout(ledger: Ledger, keys: Path) -> None:
    root = ledger.registry.git.root
    before = checkout(root)
    made = candidate(ledger.registry)
    entry = ledger.append("candidate", who="retrain", why="drift", commit=made, facts={"accuracy": 0.8}, lands=made)
    head = ledger.registry.head()
    assert head is not None
    assert parents(ledger.registry.git.root, head) == [made]
    assert ledger.registry.read("dvc.lock") == b"lock 1\n"
    assert ledger.read() == [entry]
    assert faults(ledger, keys) == []
    assert checkout(root) == before


def test_what_was_told_meanwhile_stays_when_a_candidate_lands(ledger: Ledger, keys: Path) -> None:
    lived(ledger, 100.0)
    slow = candidate(ledger.registry, 2)
    ledger.append("rollback", who="Ada", why="meanwhile", version="v1.0.0", commit=ledger.registry.find("v1.0.0").commit)
    before = ledger.registry.head()
    ledger.append("candidate", who="retrain", why="drift", commit=slow, lands=slow)
    assert [entry.event for entry in ledger.read()] == ["candidate", "promotion", "rollback", "candidate"]
    assert parents(ledger.registry.git.root, ledger.registry.head()) == [before, slow]
    assert ledger.registry.read("dvc.lock") == b"lock 2\n"
    assert faults(ledger, keys) == []


def test_a_run_that_is_done_over_writes_nothing_twice(ledger: Ledger) -> None:
    made = candidate(ledger.registry)
    first = ledger.append("candidate", who="retrain", why="drift", commit=made, lands=made, once=True)
    assert ledger.append("candidate", who="retrain", why="again", commit=made, lands=made, once=True) == first
    assert len(ledger.read()) == 1


@pytest.mark.parametrize(("who", "why", "event"), [("", "why", "verdict"), ("who", " ", "verdict"), ("who", "why", "party")])
def test_a_line_without_who_or_why_is_refused(ledger: Ledger, who: str, why: str, event: str) -> None:
    with pytest.raises(RegistryError, match="needs an event"):
        ledger.append(event, who=who, why=why, commit=ledger.registry.resolve("main"))  # type: ignore[arg-type]


def test_who_was_live_is_told_for_every_moment(ledger: Ledger) -> None:
    assert ledger.who_was_live(0) is None
    lived(ledger, 100.0, 200.0)
    # noticed after the second promotion had been written, live before it
    ledger.append("found", who="unknown", why="changed by hand", model_version="def", facts={"since": 250.0})
    told = {moment: ledger.who_was_live(moment) for moment in (99.9, 100.0, 199.0, 200.0, 249.0, 250.0, 1e12)}
    assert {moment: entry and (entry.why, entry.model_version) for moment, entry in told.items()} == {
        99.9: None,
        100.0: ("at 100.0", "abc"),
        199.0: ("at 100.0", "abc"),
        200.0: ("at 200.0", "abc"),
        249.0: ("at 200.0", "abc"),
        250.0: ("changed by hand", "def"),
        1e12: ("changed by hand", "def"),
    }


def _reworded(line: bytes) -> bytes:
    return line.replace(b'"who":"Ada"', b'"who":"Bob"')


def _resealed(line: bytes) -> bytes:
    """Change a line and give it the key id and signature of nobody."""
    content = json.loads(line)
    content |= {"why": "better", "signature": None, "key_id": None}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda lines: [lines[0], _reworded(lines[1]), *lines[2:]], ["line 2: it was changed after", "line 3: the line before it"]),
        (lambda lines: [lines[0], *lines[2:]], ["line 2: it calls itself line 3", "line 2: the line before it"]),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], ["line 2: it calls itself", "line 3", "line 4"]),
        (lambda lines: [*lines[:3], b'{"who": "me"}', lines[3]], ["line 4: it is no entry", "line 5: it calls itself line 4"]),
        (lambda lines: [*lines[:3], lines[3].replace(b'","', b'", "', 1)], ["line 4: it is not written as an entry is"]),
        (lambda lines: [*lines[:3], _resealed(lines[3])], ["line 4: it is not signed"]),
    ],
    ids=["reworded", "taken out", "swapped", "put in", "spaced", "unsigned"],
)  # fmt: skip
def test_each_broken_line_is_named(ledger: Ledger, keys: Path, change: Callable[[list[bytes]], list[bytes]], expected: list[str]) -> None:
    lived(ledger, 100.0, 200.0, 300.0)
    assert faults(ledger, keys) == []
    rewritten(ledger, change)
    found = "\n".join(faults(ledger, keys))
    assert [words for words in expected if words not in found] == []


def test_a_key_that_nobody_trusts_vouches_for_nothing(ledger: Ledger, keys: Path, tmp_path: Path) -> None:
    lived(ledger, 100.0)
    other = Ledger(ledger.registry, create_key(tmp_path / "other", "mine").with_suffix(".pem"))
    other.append("rollback", who="Eve", why="because", version="v1.0.0", commit=ledger.registry.find("v1.0.0").commit)
    found = faults(ledger, keys)
    assert len(found) == 1
    assert found[0].startswith("line 3: it was not signed by a key that is trusted here")


def test_a_signature_of_another_line_does_not_serve(ledger: Ledger, keys: Path) -> None:
    lived(ledger, 100.0, 200.0)

    def moved(lines: list[bytes]) -> list[bytes]:
        content, other = json.loads(lines[2]), json.loads(lines[1])
        content["signature"] = other["signature"]
        return [*lines[:2], json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()]

    rewritten(ledger, moved)
    assert any(words.startswith("line 3: it was changed after it was signed") for words in faults(ledger, keys))


def test_tags_and_ledger_that_do_not_agree_are_named(ledger: Ledger, keys: Path) -> None:
    lived(ledger, 100.0)
    root, other = ledger.registry.git.root, candidate(ledger.registry, 2)
    ledger.registry.register(other, model_version="def")
    assert faults(ledger, keys) == ["tag model@v1.1.0: no line of the ledger names it"]
    hooks = ("-c", "core.hooksPath=/dev/null")
    git(root, *hooks, "tag", "--delete", "model@v1.1.0")
    git(root, *hooks, "tag", "--force", "--annotate", "--message=x", "model@v1.0.0", other)
    assert [words.partition(" says")[0] for words in faults(ledger, keys)] == [f"tag model@v1.0.0: it points to {other[:12]}, but line 2"]
    git(root, *hooks, "tag", "--delete", "model@v1.0.0")
    assert faults(ledger, keys) == ["tag model@v1.0.0: it is gone, but line 2 names it"]


@pytest.fixture
def history(ledger: Ledger) -> list[str]:
    """Two versions live one after the other, and back again; return the commits of their assignments."""
    commits = [candidate(ledger.registry, number) for number in (1, 2)]
    for commit, event in ((commits[0], "promotion"), (commits[1], "promotion"), (commits[0], "rollback")):
        version = ledger.registry.register(commit, model_version=commit[:8])
        ledger.registry.assign(version)
        told = {"version": version.name, "model_version": version.model_version, "commit": commit}
        ledger.append(event, who="Ada", why="so", lands=None if ledger.registry.head() else commit, **told)  # type: ignore[arg-type]
    return [commits[0], commits[1], commits[0]]


def in_shell(root: Path, command: str) -> None:
    """Do what a message says, where hooks do not hinder."""
    shutil.rmtree(root / ".git" / "hooks", ignore_errors=True)
    subprocess.run(command, shell=True, cwd=root, check=True, capture_output=True)


def put_right(ledger: Ledger, told: list[str]) -> None:
    """Do all that the faults say is to be done."""
    for fault in told:
        in_shell(ledger.registry.git.root, re.split("take it away: |to put it back: ", fault)[1])


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("git tag -f -a -m x model#prod#2 {0}", ["model#prod#2: it points to {0:.12}, but line 2 says that v1.1.0 went live"]),
        ("git tag -f model#prod#2 {0}", ["model#prod#2: it points to {0:.12}, but line 2 says that v1.1.0 went live"]),
        ("git tag -f model#prod#2 {1}", ["model#prod#2: it is a bare name, which DVC does not see"]),
        ("git tag -d model#prod#2", ["model#prod#2: it is gone, but line 2 says that v1.1.0 went live"]),
        ("git tag -d model#prod#3", ["model#prod#3: it is gone, but line 3 says that v1.0.0 went live"]),
        ("git tag -a -m x model#prod#4 {1}", ["model#prod#4: no line of the ledger tells of it"]),
        ("git tag model#prod#4 {1}", ["model#prod#4: no line of the ledger tells of it"]),
        ("git tag -a -m x model#prod#0 {1}", ["model#prod#0: no line of the ledger tells of it"]),
        ("git tag -a -m x model#prod {1}", ["model#prod: no line of the ledger tells of it"]),
        ("git tag -a -m x model#prod!#4 {1}", ["model#prod!#4: no line of the ledger tells of it"]),
        ("git tag -a -m x model#prod#03 {1}", ["model#prod#03: no line of the ledger tells of it"]),
        (
            "git tag -f -a -m x model#prod#3 {1} && git tag -a -m x model#prod#4 {1}",
            ["model#prod#3: it points to {1:.12}, but line 3 says that v1.0.0", "model#prod#4: no line of the ledger tells of it"],
        ),
        (
            "GIT_COMMITTER_DATE=2099-01-01T00:00:00Z git tag -f -a -m x model#prod#2 {1}",
            ["model#prod#2: model#prod#2 is not dated before model#prod#3, and DVC goes by the dates"],
        ),
    ],
    ids=[
        "moved", "moved, bare", "bare", "removed", "removed, the newest", "forged", "forged, bare", "forged, below all", "without a number",
        "taken back", "a number twice", "moved and forged", "dated anew",
    ],
)  # fmt: skip
def test_an_assignment_that_is_not_what_the_ledger_tells_is_named_with_what_puts_it_right(
    ledger: Ledger, keys: Path, history: list[str], command: str, expected: list[str]
) -> None:
    assert faults(ledger, keys) == []
    in_shell(ledger.registry.git.root, command.format(*history))
    found = faults(ledger, keys)
    assert len(found) == len(expected)
    for fault, words in zip(found, expected, strict=True):
        assert fault.startswith(f"tag {words.format(*history)}")
    put_right(ledger, found)
    assert faults(ledger, keys) == []
    assert ledger.registry.live() == ledger.registry.find("v1.0.0")
    dated = sorted(ledger.registry.git.tags("model#prod#*"), key=lambda tag: tag.time)
    assert [tag.name for tag in dated] == ["model#prod#1", "model#prod#2", "model#prod#3"]


def test_what_is_live_and_still_to_be_told_of_is_no_fault_and_anything_else_is(ledger: Ledger, keys: Path, history: list[str]) -> None:
    registry = ledger.registry
    commit = candidate(registry, 3)
    version = registry.register(commit, model_version="new")
    trusted = read_trusted(keys)
    assert ledger.verify(trusted, lambda: commit) == []
    registry.assign(version)
    assert ledger.verify(trusted, lambda: commit) == []
    assert [words.partition(": ")[0] for words in ledger.verify(trusted)] == ["tag model@v1.2.0", "tag model#prod#4"]
    assert [words.partition(": ")[0] for words in ledger.verify(trusted, lambda: history[1])] == ["tag model@v1.2.0", "tag model#prod#4"]
    registry.assign(registry.find("v1.1.0"))
    assert [words.partition(": ")[0] for words in ledger.verify(trusted, lambda: commit)] == ["tag model#prod#5"]


def test_a_line_that_is_written_while_tags_are_looked_at_is_no_fault(ledger: Ledger, keys: Path, history: list[str]) -> None:
    def meanwhile() -> None:
        if len(ledger.read()) == len(history):
            version = ledger.registry.register(candidate(ledger.registry, 3), model_version="new")
            ledger.registry.assign(version)
            ledger.append("promotion", who="Bob", why="meanwhile", version=version.name, commit=version.commit)

    before = ledger.registry.assignments
    ledger.registry.assignments = lambda *given: (meanwhile(), before(*given))[1]  # type: ignore[method-assign]
    assert faults(ledger, keys) == []
    assert len(ledger.read()) == 4


def test_many_processes_append_at_once_and_no_line_is_lost(ledger: Ledger, keys: Path) -> None:
    lived(ledger)
    code = (
        "import sys; from pathlib import Path\n"
        "from evergreen.release.ledger import Ledger; from evergreen.release.registry import Registry\n"
        "ledger = Ledger(Registry(Path(sys.argv[1])), Path(sys.argv[2]))\n"
        "for turn in range(5): ledger.append('verdict', who=sys.argv[3], why=str(turn))"
    )
    words = [sys.executable, "-c", code, str(ledger.registry.git.root), str(keys / "ledger.pem")]
    told = os.environ | {"PYTHONPATH": str(ROOT)}
    processes = [subprocess.Popen([*words, name], env=told) for name in "abcd"]
    assert [process.wait(120) for process in processes] == [0, 0, 0, 0]
    entries = ledger.read()
    assert [entry.number for entry in entries] == list(range(1, 22))
    assert [[entry.why for entry in entries if entry.who == name] for name in "abcd"] == [list("01234")] * 4
    assert faults(ledger, keys) == []


def test_a_damaged_ledger_is_one_clear_message_and_can_still_be_written_to(ledger: Ledger, keys: Path) -> None:
    lived(ledger, 100.0)
    rewritten(ledger, lambda lines: [lines[0], b"half a li"])
    with pytest.raises(RegistryError, match="line 2 of the ledger is no entry; `evergreen ledger verify`"):
        ledger.read()
    entry = ledger.append("verdict", who="a", why="b")
    assert entry.number == 3
    assert [words for words in faults(ledger, keys) if words.startswith("line")] == ["line 2: it is no entry"]


def test_without_a_key_lines_are_chained_and_verify_says_what_is_missing(tmp_path: Path, keys: Path) -> None:
    unsigned = Ledger(Registry(repository(tmp_path / "project")))
    unsigned.append("candidate", who="a", why="b", commit=unsigned.registry.resolve("main"))
    assert faults(unsigned, keys) == ["line 1: it is not signed"]
