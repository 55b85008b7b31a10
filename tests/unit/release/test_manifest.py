"""A Bento that is not what its manifest says is refused, and the file is named."""

import json
import os
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.errors import ReleaseError
from evergreen.release.manifest import MANIFEST, SIGNATURE, adopt, verify, write_manifest
from evergreen.release.signing import create_key, sign, trust
from tests.release_factories import bento_folder

FILES = {
    "bento.yaml": b"name: tiny",
    "src/artifact/model.onnx": bytes(range(256)),
    "src/serving/model/worker.py": b"pass\n",
    "src/empty": b"",
}


def small(folder: Path, version: str = "0123456789ab") -> Path:
    """Write a folder of four files with its manifest: enough to stand for a Bento."""
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    write_manifest(folder, name="tiny", version=version)
    return folder


@pytest.fixture
def bento(tmp_path: Path) -> Path:
    return small(tmp_path / "bento")


def test_a_bento_is_what_its_manifest_says(tmp_path: Path) -> None:
    found = verify(made := bento_folder(tmp_path / "bento"))
    written = json.loads((made / MANIFEST).read_text(encoding="utf-8"))
    assert (found.name, found.version, found.signed_by) == ("tiny-inbox", written["version"], None)
    assert found.digest == sha256((made / MANIFEST).read_bytes()).hexdigest()
    assert {"bento.yaml", "src/artifact/model.onnx", "src/golden.json", "src/serving/service.py"} <= written["files"].keys()


@given(data=st.data(), name=st.sampled_from([name for name, content in FILES.items() if content]))
def test_any_flipped_bit_is_found_and_its_file_named(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str) -> None:
    made = small(tmp_path_factory.mktemp("flip") / "bento")
    content = bytearray(FILES[name])
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    (made / name).write_bytes(content)
    with pytest.raises(ReleaseError, match=rf"changed: {name}\)"):
        verify(made)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda bento: (bento / "src/empty").unlink(), r"missing: src/empty\)"),
        (lambda bento: (bento / "src/empty").write_bytes(b"x"), r"changed: src/empty\)"),
        (lambda bento: (bento / "src/serving/sitecustomize.py").write_text(""), r"extra: src/serving/sitecustomize\.py\)"),
        (lambda bento: (bento / "src/serving/model/worker.pyc").write_bytes(b""), r"extra: src/serving/model/worker\.pyc\)"),
        (lambda bento: (bento / "src/empty").rename(bento / "src/other"), r"missing: src/empty; extra: src/other\)"),
        (lambda bento: (bento / MANIFEST).unlink(), r"MANIFEST\.json is missing"),
        (lambda bento: shutil.rmtree(bento), "there is no Bento at"),
    ],
)
def test_what_is_changed_missing_or_extra_is_named(bento: Path, change: Callable[[Path], object], told: str) -> None:
    change(bento)
    with pytest.raises(ReleaseError, match=told):
        verify(bento)


def test_all_faults_are_told_at_once(bento: Path) -> None:
    (bento / "src/serving/model/worker.py").write_text("import os\n", encoding="utf-8")
    (bento / "bento.yaml").unlink()
    for number in range(7):
        (bento / f"extra{number}").touch()
    told = r"changed: src/serving/model/worker\.py; missing: bento\.yaml; extra: extra0, extra1, extra2, extra3, extra4 and 2 more\)"
    with pytest.raises(ReleaseError, match=told):
        verify(bento)


@pytest.mark.parametrize("name", ["src/empty", "src/link", "src/serving", MANIFEST, SIGNATURE])
def test_a_link_is_refused_wherever_it_stands_and_wherever_it_leads(bento: Path, tmp_path: Path, name: str) -> None:
    place, moved = bento / name, tmp_path / "elsewhere"
    if place.exists():
        place.rename(moved)
    else:
        moved.touch()
    place.symlink_to(moved)
    with pytest.raises(ReleaseError, match=r"link|Too many levels of symbolic links"):
        verify(bento, trusted=None)


def test_a_pipe_is_refused_and_not_waited_for(bento: Path) -> None:
    os.mkfifo(bento / "src" / "pipe")
    with pytest.raises(ReleaseError, match="'src/pipe', which is a link or no plain file"):
        verify(bento)


def test_byte_code_that_python_leaves_does_not_matter_and_is_not_adopted(bento: Path, tmp_path: Path) -> None:
    (bento / "src/serving/__pycache__").mkdir()
    (bento / "src/serving/__pycache__/worker.cpython-311.pyc").write_bytes(b"planted")
    assert verify(bento) == adopt(bento, tmp_path / "own")
    assert not list((tmp_path / "own").rglob("*.pyc"))


@pytest.mark.parametrize(
    "path",
    ["../outside", "/etc/passwd", "src/../../outside", "src//empty", "./src/empty", "", "src/\0", "src\\x", MANIFEST, "a/__pycache__/b"],
)
def test_a_manifest_that_names_a_place_outside_is_refused(bento: Path, path: str) -> None:
    content = json.loads((bento / MANIFEST).read_text(encoding="utf-8"))
    content["files"][path] = "0" * 64
    (bento / MANIFEST).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ReleaseError, match="which is no file of a Bento"):
        verify(bento)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"format": 2, "name": "a", "version": "b", "files": {}}',
        b'{"format": 1, "name": "../a", "version": "b", "files": {}}',
        b'{"format": 1, "name": "a", "version": "", "files": {}}',
        b'{"format": 1, "name": "a", "version": "b", "files": []}',
        b'{"format": 1, "name": "a", "version": "b", "files": {"c": 1}}',
        b'{"format": 1, "name": "a", "files": {}}',
    ],
)
def test_what_is_no_manifest_is_refused_in_one_message(bento: Path, content: bytes) -> None:
    (bento / MANIFEST).write_bytes(content)
    with pytest.raises(ReleaseError, match="is no manifest of format 1; build the Bento again"):
        verify(bento)


def test_an_adopted_bento_is_whole_and_its_own(bento: Path, tmp_path: Path) -> None:
    adopted = adopt(bento, tmp_path / "own")
    (bento / "src/empty").write_bytes(b"changed afterwards")
    assert verify(tmp_path / "own") == adopted
    with pytest.raises(ReleaseError, match="is there already"):
        adopt(bento, tmp_path / "own")


def test_of_a_damaged_bento_nothing_is_adopted(bento: Path, tmp_path: Path) -> None:
    (bento / "src/serving/model/worker.py").write_text("import os\n", encoding="utf-8")
    with pytest.raises(ReleaseError, match=r"changed: src/serving/model/worker\.py"):
        adopt(bento, tmp_path / "own")
    assert [path.name for path in tmp_path.iterdir()] == ["bento"]


@pytest.fixture
def signed(bento: Path, tmp_path: Path) -> Path:
    """Sign the Bento with a key that is trusted in the folder `trusted`."""
    trust(create_key(tmp_path / "signing", "release"), tmp_path / "trusted")
    sign(bento / MANIFEST, bento / SIGNATURE, tmp_path / "signing" / "release.pem")
    return bento


def test_a_trusted_signature_is_named_also_of_the_copy(signed: Path, tmp_path: Path) -> None:
    assert verify(signed, tmp_path / "trusted").signed_by == "release"
    assert adopt(signed, tmp_path / "own", tmp_path / "trusted").signed_by == "release"
    assert verify(tmp_path / "own", tmp_path / "trusted").signed_by == "release"


def test_where_nobody_is_trusted_nobody_vouches(signed: Path, tmp_path: Path) -> None:
    assert verify(signed).signed_by is None
    assert verify(signed, tmp_path / "no such folder").signed_by is None


def test_an_unsigned_bento_is_refused_where_somebody_is_trusted(signed: Path, tmp_path: Path) -> None:
    (signed / SIGNATURE).unlink()
    with pytest.raises(ReleaseError, match="is not signed, and only what a trusted key"):
        verify(signed, tmp_path / "trusted")


def test_the_signature_of_another_bento_is_refused(signed: Path, tmp_path: Path) -> None:
    other = small(tmp_path / "other", version="ba9876543210")
    shutil.copy(signed / SIGNATURE, other / SIGNATURE)
    with pytest.raises(ReleaseError, match="was changed after release signed it, or the signature is another Bento's"):
        verify(other, tmp_path / "trusted")


def test_a_change_with_a_manifest_made_to_match_is_refused(signed: Path, tmp_path: Path) -> None:
    signature = (signed / SIGNATURE).read_bytes()
    (signed / "src/serving/model/worker.py").write_text("import os\n", encoding="utf-8")
    write_manifest(signed, name="tiny", version="0123456789ab")
    (signed / SIGNATURE).write_bytes(signature)
    assert verify(signed).signed_by is None
    with pytest.raises(ReleaseError, match="was changed after release signed it"):
        verify(signed, tmp_path / "trusted")


def test_a_signature_by_a_stranger_is_refused(signed: Path, tmp_path: Path) -> None:
    create_key(tmp_path / "stranger", "release")
    known_as = sign(signed / MANIFEST, signed / SIGNATURE, tmp_path / "stranger" / "release.pem")
    with pytest.raises(ReleaseError, match=f"signed by key '{known_as}', which is not trusted here; trusted: release"):
        verify(signed, tmp_path / "trusted")


def test_a_stranger_who_claims_a_trusted_keys_id_is_refused(signed: Path, tmp_path: Path) -> None:
    claimed = json.loads((signed / SIGNATURE).read_text(encoding="utf-8"))["key_id"]
    create_key(tmp_path / "stranger", "release")
    sign(signed / MANIFEST, signed / SIGNATURE, tmp_path / "stranger" / "release.pem")
    made = json.loads((signed / SIGNATURE).read_text(encoding="utf-8"))
    (signed / SIGNATURE).write_text(json.dumps({**made, "key_id": claimed}), encoding="utf-8")
    with pytest.raises(ReleaseError, match="was changed after release signed it"):
        verify(signed, tmp_path / "trusted")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"key_id": "a"}', b'{"key_id": "a", "signature": "@"}', b'{"key_id": 1, "signature": 2}']
)
def test_a_damaged_signature_is_refused_in_one_message(signed: Path, tmp_path: Path, content: bytes) -> None:
    (signed / SIGNATURE).write_bytes(content)
    with pytest.raises(ReleaseError, match=r"the signature of .* is damaged"):
        verify(signed, tmp_path / "trusted")


def test_a_rebuilt_bento_does_not_keep_an_older_signature(signed: Path) -> None:
    write_manifest(signed, name="tiny", version="0123456789ab")
    assert not (signed / SIGNATURE).exists()
