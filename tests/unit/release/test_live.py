import json
import os
import shutil
from pathlib import Path

import pytest

from evergreen.errors import ReleaseError
from evergreen.release.live import KEPT, Live, Place, Release, Trial, first
from evergreen.release.manifest import MANIFEST, SIGNATURE
from evergreen.release.signing import create_key, sign, trust
from tests.release_factories import bento_folder

A, B, C = (Release(f"{letter}-0", letter, letter * 64) for letter in "abc")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "home")


def test_promotion_and_rollback_swap_the_champion_with_the_one_before() -> None:
    second = first(A).promoted(B)
    assert (second.champion, second.previous) == (B, A)
    back = second.rolled_back()
    assert (back.champion, back.previous, back.generation) == (A, B, 3)
    assert back.rolled_back().champion == B


def test_the_first_version_has_nothing_to_go_back_to() -> None:
    with pytest.raises(ReleaseError, match="a is the first that was live here"):
        first(A).rolled_back()


def test_a_promoted_challenger_is_no_longer_on_trial_and_another_one_stays() -> None:
    trying = first(A).trying(Trial(B, "canary", 0.1))
    assert trying.promoted(B).trial is None
    assert trying.promoted(C).trial == Trial(B, "canary", 0.1)
    with pytest.raises(ReleaseError, match="is the champion itself"):
        first(A).trying(Trial(A, "shadow", 0))


def test_what_is_written_is_read_again(place: Place) -> None:
    assert place.read() is None
    live = first(A).promoted(B).trying(Trial(C, "canary", 0.25))
    place.write(live)
    assert place.read() == live
    assert live.releases == (B, A, C)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"generation": 1}', '{"generation": 1, "champion": {"name": 1}, "trial": null}'])
def test_a_damaged_pointer_is_named_and_not_guessed_at(place: Place, content: str) -> None:
    place.folder.mkdir(parents=True)
    (place.folder / "live.json").write_text(content)
    with pytest.raises(ReleaseError, match=r"live\.json is damaged"):
        place.read()


def test_a_write_that_fails_leaves_the_old_pointer(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    before = first(A)
    place.write(before)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        place.write(first(B))
    assert place.read() == before


def test_a_bento_is_admitted_once_and_served_from_its_copy(place: Place, tmp_path: Path) -> None:
    bento = bento_folder(tmp_path / "bento")
    release = place.admit(bento)
    assert place.admit(bento) == release
    shutil.rmtree(bento)
    place.check(release)
    assert release.version == json.loads((place.bento(release) / "MANIFEST.json").read_text())["version"]
    assert [folder.name for folder in (place.folder / "releases").iterdir()] == [release.name]


def test_a_release_gets_the_signature_that_its_bento_got_later(place: Place, tmp_path: Path) -> None:
    bento = bento_folder(tmp_path / "bento")
    release = place.admit(bento)
    trust(create_key(tmp_path / "signing", "release"), place.trusted)
    with pytest.raises(ReleaseError, match="is not signed"):
        place.check(release)
    sign(bento / MANIFEST, bento / SIGNATURE, tmp_path / "signing" / "release.pem")
    assert place.admit(bento) == release
    place.check(release)


def test_the_same_model_with_another_dossier_is_another_release(place: Place, tmp_path: Path) -> None:
    one = place.admit(bento_folder(tmp_path / "one"))
    other = place.admit(bento_folder(tmp_path / "other", verdict="PROMOTE"))
    assert one.version == other.version
    assert one.name != other.name


def test_a_release_that_was_changed_afterwards_is_refused_by_name(place: Place, tmp_path: Path) -> None:
    release = place.admit(bento_folder(tmp_path / "bento"))
    changed = place.bento(release) / "src" / "artifact" / "model.onnx"
    changed.write_bytes(changed.read_bytes() + b"\0")
    with pytest.raises(ReleaseError, match=r"changed: src/artifact/model\.onnx"):
        place.check(release)


def test_a_refused_bento_leaves_nothing_behind(place: Place, tmp_path: Path) -> None:
    bento = bento_folder(tmp_path / "bento")
    (bento / "src" / "dossier.html").write_text("other words")
    with pytest.raises(ReleaseError, match="dossier"):
        place.admit(bento)
    assert not list(place.folder.rglob("*bento*"))
    assert place.read() is None


def test_a_bento_is_found_by_path_and_a_release_by_the_beginning_of_its_version(place: Place, tmp_path: Path) -> None:
    bento = bento_folder(tmp_path / "bento")
    release = place.admit(bento)
    assert place.find(str(bento)) == bento
    assert place.find(release.version[:5]) == place.bento(release)
    with pytest.raises(ReleaseError, match=f"neither the folder of a Bento nor a release kept here .{release.name}"):
        place.find("elsewhere")


def test_releases_that_nothing_points_to_are_kept_for_a_while_and_then_removed(place: Place) -> None:
    folder = place.folder / "releases"
    names = [f"v{number}" for number in range(KEPT + 3)]
    for number, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        os.utime(folder / name, (number, number))
    (folder / ".v9.partial-77").mkdir()
    oldest = Release(names[0], names[0], "0" * 64)
    place.sweep(Live(1, oldest, None, None, "2025-01-01T00:00:00+00:00"))
    assert sorted(item.name for item in folder.iterdir()) == sorted([names[0], *names[-KEPT:]])


def test_a_home_too_deep_for_a_sockets_address_gets_a_short_one(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 120)
    assert len(str(Place(deep).control)) < 100
    assert Place(deep).control != Place(tmp_path / ("y" * 120)).control
    assert Place(Path("/srv/eg")).control == Path("/srv/eg/serve/run/control.sock")
