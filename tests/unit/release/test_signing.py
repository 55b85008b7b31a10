"""Keys that sign stay with their owner; a key that cannot be used is one clear message."""

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from evergreen.errors import ReleaseError
from evergreen.release.signing import create_key, key_id, read_public, read_trusted, sign, trust


def test_a_signing_key_is_its_owners_alone_and_never_replaced(tmp_path: Path) -> None:
    public = create_key(tmp_path / "signing", "release")
    secret = public.with_suffix(".pem")
    assert (secret.stat().st_mode & 0o777, secret.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    before = secret.read_bytes()
    with pytest.raises(ReleaseError, match="a key is never replaced"):
        create_key(tmp_path / "signing", "release")
    assert secret.read_bytes() == before
    assert b"PRIVATE" not in public.read_bytes()
    assert read_public(public).encode() == public.read_bytes()


@pytest.mark.parametrize("name", ["", "../out", "A", "a b", "x" * 41])
def test_a_name_that_is_no_name_makes_no_key(tmp_path: Path, name: str) -> None:
    with pytest.raises(ReleaseError, match="cannot name a key"):
        create_key(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_others_can_read_does_not_sign(tmp_path: Path) -> None:
    secret = create_key(tmp_path, "release").with_suffix(".pem")
    secret.chmod(0o640)
    with pytest.raises(ReleaseError, match="can be read by others"):
        sign(secret, tmp_path / "signature", secret)
    assert not (tmp_path / "signature").exists()


@pytest.mark.parametrize(("content", "told"), [(None, "there is no signing key"), (b"no key", "holds no private key as PEM")])
def test_a_key_that_cannot_be_read_is_one_message(tmp_path: Path, content: bytes | None, told: str) -> None:
    secret = tmp_path / "release.pem"
    if content is not None:
        secret.write_bytes(content)
        secret.chmod(0o600)
    with pytest.raises(ReleaseError, match=told):
        sign(tmp_path / "anything", tmp_path / "signature", secret)


def test_another_kind_of_key_is_neither_trusted_nor_used(tmp_path: Path) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    kept = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (tmp_path / "other.pem").write_bytes(other.private_bytes(serialization.Encoding.PEM, *kept))
    (tmp_path / "other.pem").chmod(0o600)
    shown = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    (tmp_path / "other.pub").write_bytes(other.public_key().public_bytes(*shown))
    with pytest.raises(ReleaseError, match="another kind of key"):
        trust(tmp_path / "other.pub", tmp_path / "trusted")
    with pytest.raises(ReleaseError, match="another kind of key"):
        sign(tmp_path / "other.pub", tmp_path / "signature", tmp_path / "other.pem")


def test_a_damaged_key_among_the_trusted_ones_is_not_passed_over(tmp_path: Path) -> None:
    trust(create_key(tmp_path, "release"), tmp_path / "trusted")
    (tmp_path / "trusted" / "second.pub").write_text("no key", encoding="utf-8")
    with pytest.raises(ReleaseError, match=r"second\.pub holds no public key"):
        read_trusted(tmp_path / "trusted")


def test_a_trusted_key_is_not_replaced_by_another_of_its_name(tmp_path: Path) -> None:
    first, second = create_key(tmp_path / "a", "release"), create_key(tmp_path / "b", "release")
    trust(first, tmp_path / "trusted")
    trust(first, tmp_path / "trusted")
    with pytest.raises(ReleaseError, match="is another key of that name"):
        trust(second, tmp_path / "trusted")
    assert list(map(key_id, read_trusted(tmp_path / "trusted").values())) == [key_id(read_trusted(tmp_path / "a")["release"])]


def test_other_tools_read_the_keys(tmp_path: Path) -> None:
    public = create_key(tmp_path, "release")
    command = ["openssl", "pkey", "-in", str(public.with_suffix(".pem")), "-pubout"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    assert done.stdout == read_public(public)
