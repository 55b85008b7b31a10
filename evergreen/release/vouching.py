"""Whether the record of a version can be believed: its tag, the ledger that names it, and the keys that signed the ledger.

Knows nothing of what the version holds.
"""

from collections.abc import Callable, Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from evergreen.errors import RegistryError
from evergreen.release.ledger import NOT_SIGNED, NOT_TRUSTED, Ledger
from evergreen.release.registry import Registry, Version


def vouched(
    registry: Registry, version: Version, trusted: Mapping[str, Ed25519PublicKey], untold: Callable[[], str | None] = lambda: None
) -> list[str]:
    """Return what should be said of a version's record, nothing where all is well; `untold` as for `Ledger.verify`.

    Raises RegistryError where its tag is not the one that the ledger knows, or the ledger is not as it was written. Where no key is
    trusted here, nobody's signature is asked for; the chain of the lines is checked all the same.
    """
    ledger = Ledger(registry)
    if not ledger.read():
        return [f"there is no ledger: nothing says that {version.name} is still the commit that was released"]
    unsigned = () if trusted else (NOT_SIGNED, NOT_TRUSTED)
    faults = [fault for fault in ledger.verify(trusted, untold) if not any(words in fault for words in unsigned)]
    own, tags = f"tag {registry.artifact}@{version.name}:", f"tag {registry.artifact}"
    serious = [fault for fault in faults if fault.startswith(own) or not fault.startswith(tags)]
    if serious:
        more = f" (and {len(serious) - 1} more: `evergreen ledger verify`)" if serious[1:] else ""
        raise RegistryError(f"the record of {version.name} cannot be believed: {serious[0]}{more}; find out who did that before you use it")
    others = [f"of {'another version' if fault.startswith(f'{tags}@') else 'what is live'}: {fault}" for fault in faults]
    return others if trusted else [*others, "no key is trusted here, so nobody's signature under the ledger was asked for"]
