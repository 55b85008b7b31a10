"""A version's record is believed as far as tag, ledger and keys agree, and no further."""

from pathlib import Path

import pytest

from evergreen.errors import RegistryError
from evergreen.release.ledger import LEDGER, Ledger
from evergreen.release.registry import Registry
from evergreen.release.signing import create_key, read_trusted
from evergreen.release.vouching import vouched
from tests.project_factories import git
from tests.registry_factories import candidate, repository, signed_ledger


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(repository(tmp_path / "project"))


def released(registry: Registry, ledger: Ledger, number: int = 1) -> str:
    """Register a candidate and write it down; return the version's name."""
    commit = candidate(registry, number)
    version = registry.register(commit, model_version=f"m{number}")
    ledger.append("candidate", who="a", why="b", version=version.name, model_version=f"m{number}", commit=commit, lands=commit)
    return version.name


def test_an_untouched_record_is_believed_in_silence(registry: Registry, tmp_path: Path) -> None:
    name = released(registry, signed_ledger(registry, tmp_path / "keys"))
    assert vouched(registry, registry.find(name), read_trusted(tmp_path / "keys")) == []


def test_without_keys_or_ledger_it_is_said_what_nobody_vouches_for(registry: Registry) -> None:
    commit = candidate(registry)
    version = registry.register(commit, model_version="m")
    assert "there is no ledger" in vouched(registry, version, {})[0]
    Ledger(registry).append("candidate", who="a", why="b", version=version.name, commit=commit)
    assert vouched(registry, version, {}) == ["no key is trusted here, so nobody's signature under the ledger was asked for"]


def test_a_moved_tag_is_named_with_both_commits(registry: Registry, tmp_path: Path) -> None:
    name = released(registry, signed_ledger(registry, tmp_path / "keys"))
    was, other = registry.find(name).commit, registry.resolve("main")
    git(registry.git.root, "-c", "core.hooksPath=/dev/null", "tag", "--force", "--annotate", "--message=moved", f"model@{name}", other)
    with pytest.raises(RegistryError, match=rf"v1.0.0 cannot be believed: tag .* points to {other[:12]}, but line 1 says {was[:12]}"):
        vouched(registry, registry.find(name), read_trusted(tmp_path / "keys"))


def test_another_versions_moved_tag_is_only_told(registry: Registry, tmp_path: Path) -> None:
    ledger = signed_ledger(registry, tmp_path / "keys")
    first, second = released(registry, ledger), released(registry, ledger, 2)
    git(registry.git.root, "-c", "core.hooksPath=/dev/null", "tag", "--delete", f"model@{second}")
    notes = vouched(registry, registry.find(first), read_trusted(tmp_path / "keys"))
    assert len(notes) == 1 and f"of another version: tag model@{second}: it is gone" in notes[0]


def test_a_forged_word_on_what_is_live_is_only_told(registry: Registry, tmp_path: Path) -> None:
    name = released(registry, signed_ledger(registry, tmp_path / "keys"))
    version, trusted = registry.find(name), read_trusted(tmp_path / "keys")
    registry.assign(version)
    (note,) = vouched(registry, version, trusted)
    assert note.startswith("of what is live: tag model#prod#1: no line of the ledger tells of it")
    assert vouched(registry, version, trusted, lambda: version.commit) == []


@pytest.mark.parametrize("trusting", [True, False])
def test_a_changed_line_is_refused_with_and_without_keys(registry: Registry, tmp_path: Path, trusting: bool) -> None:
    ledger = signed_ledger(registry, tmp_path / "keys")
    name = released(registry, ledger)
    ledger.append("verdict", who="gate", why="all rules", version=name, commit=registry.find(name).commit)
    head = registry.head()
    raw = registry.read(LEDGER)
    assert head and raw
    forged = registry.commit({LEDGER: raw.replace(b'"why":"b"', b'"why":"c"')}, "forged", base=head, parents=[head])
    assert registry.advance(forged, was=head)
    keys = read_trusted(tmp_path / "keys") if trusting else {}
    with pytest.raises(RegistryError, match="line 1: it was changed" if trusting else "line 2: the line before it is not the one"):
        vouched(registry, registry.find(name), keys)


def test_a_signature_of_nobody_trusted_is_refused(registry: Registry, tmp_path: Path) -> None:
    name = released(registry, signed_ledger(registry, tmp_path / "keys"))
    create_key(tmp_path / "others", "other")
    with pytest.raises(RegistryError, match="line 1: it was not signed by a key that is trusted here"):
        vouched(registry, registry.find(name), read_trusted(tmp_path / "others"))
