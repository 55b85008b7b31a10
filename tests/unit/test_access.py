import os
import threading
from pathlib import Path

import pytest

from evergreen import access
from evergreen.access import KeyFile, KeyRing
from evergreen.errors import AccessError


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "keys.json"


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_key_opens_and_its_secret_is_nowhere_in_the_file(path: Path) -> None:
    key, shown = KeyFile(path).create("billing", ("predict",))
    found = KeyRing(path).check(shown)
    assert (found.id, found.name, found.may) == (key.id, "billing", ("predict",))
    assert shown.split("_", 2)[2] not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir() if file.suffix != ".lock"] == ["keys.json"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda key: key[:-1] + ("A" if key[-1] != "A" else "B"),
        lambda key: key[:-1],
        lambda key: key + "A",
        str.upper,
        lambda _: "",
        lambda _: "eg__",
        lambda key: key + "\n",
    ],
)
def test_anything_but_the_whole_key_is_refused(path: Path, damage) -> None:
    _, shown = KeyFile(path).create("billing")
    assert KeyRing(path).check(damage(shown)) is None


def test_the_secret_of_one_key_does_not_open_with_the_id_of_another(path: Path) -> None:
    (_, one), (other, _) = KeyFile(path).create("a"), KeyFile(path).create("b")
    assert KeyRing(path).check(f"eg_{other.id}_{one.split('_', 2)[2]}") is None


@pytest.mark.parametrize("known", [True, False])
def test_known_and_unknown_ids_take_the_same_constant_time_comparison(path: Path, known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    key, _ = KeyFile(path).create("a")
    ring, compared = KeyRing(path), []
    monkeypatch.setattr(access.hmac, "compare_digest", lambda a, b: compared.append((len(a), len(b))) or a == b)
    assert ring.check(f"eg_{key.id if known else '0' * 12}_{'x' * 43}") is None
    assert compared == [(64, 64)]


def test_a_revoked_key_is_refused_within_a_second(path: Path, clock: Clock) -> None:
    key, shown = KeyFile(path).create("a")
    ring = KeyRing(path, clock)
    assert ring.check(shown)
    KeyFile(path).revoke(key.id)
    clock.now = 1.0
    assert ring.check(shown) is None


def test_a_new_key_opens_a_running_service(path: Path, clock: Clock) -> None:
    ring = KeyRing(path, clock)
    assert not ring.on()
    _, shown = KeyFile(path).create("a")
    clock.now = 1.0
    assert ring.on() and ring.check(shown)


def test_the_last_key_revoked_does_not_switch_keys_off(path: Path) -> None:
    key, _ = KeyFile(path).create("a")
    KeyFile(path).revoke(key.id)
    assert KeyRing(path).on()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 2, "keys": []}', b'{"format": 1, "keys": [{"id": "1"}]}', b"\xff"])
def test_a_damaged_file_closes_the_door_until_it_is_whole_again(path: Path, clock: Clock, content: bytes) -> None:
    _, shown = KeyFile(path).create("a")
    ring, whole = KeyRing(path, clock), path.read_bytes()
    assert ring.check(shown)
    path.write_bytes(content)
    clock.now = 1.0
    with pytest.raises(AccessError, match="damaged"):
        ring.check(shown)
    with pytest.raises(AccessError, match="damaged"):
        KeyFile(path).create("b")
    assert path.read_bytes() == content
    path.write_bytes(whole)
    clock.now = 2.0
    assert ring.check(shown) and ring.fault() is None


def test_a_file_that_goes_away_does_not_open_the_door(path: Path, clock: Clock) -> None:
    KeyFile(path).create("a")
    ring = KeyRing(path, clock)
    assert ring.on()
    path.unlink()
    for clock.now in (1.0, 2.0, 3.0):
        with pytest.raises(AccessError, match="has gone"):
            ring.on()


def test_a_file_that_others_can_read_is_refused(path: Path) -> None:
    KeyFile(path).create("a")
    path.chmod(0o640)
    with pytest.raises(AccessError, match="chmod 600"):
        KeyFile(path).all()
    assert "chmod 600" in KeyRing(path).fault()


@pytest.mark.parametrize("name", ["", "x" * 65, "a\nb", "<b>"])
def test_odd_names_are_refused(path: Path, name: str) -> None:
    with pytest.raises(AccessError, match="1 to 64 letters"):
        KeyFile(path).create(name)
    assert not path.exists()


def test_a_name_is_taken_once_until_its_key_is_revoked(path: Path) -> None:
    first, _ = KeyFile(path).create("a")
    with pytest.raises(AccessError, match="already"):
        KeyFile(path).create("a")
    KeyFile(path).revoke(first.id)
    KeyFile(path).create("a")
    assert [(key.name, bool(key.revoked)) for key in KeyFile(path).all()] == [("a", True), ("a", False)]


def test_a_key_that_may_nothing_is_refused(path: Path) -> None:
    with pytest.raises(AccessError, match="at least one of predict, feedback, read"):
        KeyFile(path).create("a", ())


def test_revoking_what_is_not_there_says_so(path: Path) -> None:
    KeyFile(path).create("a")
    with pytest.raises(AccessError, match="there is no key '0'"):
        KeyFile(path).revoke("0")


def test_keys_made_at_once_are_all_kept(path: Path) -> None:
    makers = [threading.Thread(target=KeyFile(path).create, args=(f"k{number}",)) for number in range(12)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert sorted(key.name for key in KeyFile(path).all()) == sorted(f"k{number}" for number in range(12))


def test_a_failed_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    KeyFile(path).create("a")
    whole = path.read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        KeyFile(path).create("b")
    assert path.read_bytes() == whole
