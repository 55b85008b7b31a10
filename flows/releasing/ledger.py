"""The project's ledger: where its keys lie, who signs it, and who gives a command.

Keys that sign lie in EVERGREEN_HOME/signing, public keys that are trusted here in EVERGREEN_HOME/trusted. The ledger's own key is made
when something is to be signed and none is there.
"""

import getpass
from pathlib import Path
from typing import TYPE_CHECKING

from evergreen.errors import RegistryError
from flows import HOME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from evergreen.release.ledger import Ledger

SIGNING, TRUSTED = HOME / "signing", HOME / "trusted"
LEDGER_KEY, RELEASE_KEY = "ledger", "release"
BY_ITSELF = "Evergreen"  # who, where no person has asked
MEMORY = SIGNING / "ledger.json"


def opened(root: Path) -> "Ledger":
    """Return the ledger of the project in a folder, with the key that signs it; one is made where there is none."""
    from evergreen.release.ledger import Ledger
    from evergreen.release.registry import Registry

    return Ledger(Registry(root), ensure_key(), MEMORY)


def trusted_keys(others: "Sequence[Path]" = ()) -> "dict[str, Ed25519PublicKey]":
    """Return the public keys that may have signed the ledger, by folder and name: our own, those trusted here, and others by file."""
    from evergreen.release.signing import read_public_key, read_trusted

    own = {f"{folder.name}/{name}": key for folder in (SIGNING, TRUSTED) for name, key in read_trusted(folder).items()}
    return own | {str(file): read_public_key(file) for file in others}


def ensure_key() -> Path:
    """Return the key that signs the ledger; make it where there is none."""
    from evergreen.errors import ReleaseError
    from evergreen.release.signing import create_key

    key = SIGNING / f"{LEDGER_KEY}.pem"
    if not key.exists():
        try:
            create_key(SIGNING, LEDGER_KEY)
        except ReleaseError:  # another run was faster
            if not key.exists():
                raise
    return key


def person(root: Path) -> str:
    """Return the name of whoever gives a command: as git knows them, or their login."""
    from evergreen.release.plumbing import Git

    try:
        return Git(root).person() or getpass.getuser()
    except (RegistryError, KeyError, OSError):  # no repository, no user of that number
        return "unknown"
