"""Signatures of manifests: Ed25519, with keys as PEM files that any other tool can read.

A signing key lies in a file that its owner alone may read. Who is trusted stands in a folder of public keys (`NAME.pub`): where it holds
any, one of them must have signed. Knows nothing of what a manifest says.
"""

import base64
import json
import os
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from evergreen.errors import ReleaseError

NAME = re.compile("[a-z0-9][a-z0-9_-]{0,39}")
OTHERS = 0o077  # permissions of anyone but the owner


def create_key(folder: Path, name: str) -> Path:
    """Make a signing key `NAME.pem`, for its owner alone, and its public key `NAME.pub` beside it; return the latter.

    A key that is there already stays, and the command is refused: what it has signed would otherwise be nobody's.
    """
    if not NAME.fullmatch(name):
        raise ReleaseError(f"{name!r} cannot name a key; use up to 40 small letters, digits, - and _")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    try:
        handle = os.open(folder / f"{name}.pem", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ReleaseError(f"{folder / name}.pem exists; a key is never replaced. Choose another name") from None
    with os.fdopen(handle, "wb") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    public = folder / f"{name}.pub"
    public.write_bytes(_pem(key.public_key()))
    return public


def trust(public: Path, trusted: Path) -> Path:
    """Copy a public key into the folder of trusted ones, from then on asked of every Bento; return where it lies."""
    key = _public(public)
    if not NAME.fullmatch(public.stem):
        raise ReleaseError(f"{public.name!r} cannot name a trusted key; call the file NAME.pub, in small letters, digits, - and _")
    trusted.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = trusted / f"{public.stem}.pub"
    if target.exists() and key_id(_public(target)) != key_id(key):
        raise ReleaseError(f"{target} is another key of that name; remove it first, or call the new one differently")
    partial = target.with_suffix(".partial")
    partial.write_bytes(_pem(key))
    partial.replace(target)
    return target


def sign(manifest: Path, signature: Path, key: Path) -> str:
    """Sign the bytes of a manifest with a key file; write the signature and return the key's id."""
    secret = _secret(key)
    made = _signed(manifest.read_bytes(), secret)
    # Written in place: half a signature is refused as damaged, while a half-written neighbour would be a file too many.
    signature.write_text(json.dumps(made) + "\n", encoding="utf-8")
    return made["key_id"]


def signed(message: bytes, key: Path) -> dict[str, str]:
    """Sign a message with a key file; return {"key_id", "signature"}, which `check_signature` takes as JSON."""
    return _signed(message, _secret(key))


def _signed(message: bytes, secret: Ed25519PrivateKey) -> dict[str, str]:
    return {"key_id": key_id(secret.public_key()), "signature": base64.b64encode(secret.sign(message)).decode()}


def read_trusted(folder: Path) -> dict[str, Ed25519PublicKey]:
    """Return the trusted keys by name; a file that holds none is an error, because passing it over would trust fewer, or anyone."""
    return {file.stem: _public(file) for file in sorted(folder.glob("*.pub"))}


def check_signature(
    message: bytes, signature: bytes | None, keys: Mapping[str, Ed25519PublicKey], *, what: Path, trusted: Path | None = None
) -> str:
    """Return the name of the key that signed the message; raise ReleaseError when none of `keys` did."""
    names = f"{', '.join(keys)}{f' in {trusted}' if trusted else ''}"
    if signature is None:
        raise ReleaseError(f"{what} is not signed, and only what a trusted key ({names}) has signed may run; `evergreen sign {what}`")
    try:
        told = json.loads(signature)
        claimed, made = str(told["key_id"]), base64.b64decode(told["signature"], validate=True)
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ReleaseError(f"the signature of {what} is damaged; sign it again (`evergreen sign {what}`)") from None
    name = next((name for name, key in keys.items() if key_id(key) == claimed), None)
    if name is None:
        raise ReleaseError(f"{what} was signed by key {claimed[:16]!r}, which is not trusted here; trusted: {names}")
    try:
        keys[name].verify(made, message)
    except InvalidSignature:
        raise ReleaseError(f"{what} was changed after {name} signed it, or the signature is another Bento's; do not use it") from None
    return name


def key_id(key: Ed25519PublicKey) -> str:
    """Return 16 hexadecimal digits that stand for a public key: the beginning of its sha256."""
    return sha256(key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)).hexdigest()[:16]


def read_public(file: Path) -> str:
    """Return a public key as PEM, to be given to those who shall trust it."""
    return _pem(_public(file)).decode()


def read_public_key(file: Path) -> Ed25519PublicKey:
    """Return the public key in a file; raise ReleaseError where there is none."""
    return _public(file)


def _secret(file: Path) -> Ed25519PrivateKey:
    try:
        if file.stat().st_mode & OTHERS:
            raise ReleaseError(f"{file} can be read by others than its owner; `chmod 600 {file}`, and think of who may have read it")
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except FileNotFoundError:
        raise ReleaseError(f"there is no signing key {file}; `evergreen signer create` makes one") from None
    except (ValueError, TypeError):
        raise ReleaseError(f"{file} holds no private key as PEM without a passphrase") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ReleaseError(f"{file} holds another kind of key than Ed25519; `evergreen signer create` makes one")
    return key


def _public(file: Path) -> Ed25519PublicKey:
    try:
        key = serialization.load_pem_public_key(file.read_bytes())
    except FileNotFoundError:
        raise ReleaseError(f"there is no public key {file}") from None
    except ValueError:
        raise ReleaseError(f"{file} holds no public key as PEM") from None
    if not isinstance(key, Ed25519PublicKey):
        raise ReleaseError(f"{file} holds another kind of key than Ed25519")
    return key


def _pem(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
