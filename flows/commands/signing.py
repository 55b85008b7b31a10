"""The commands around signatures: `evergreen signer create | show | trust`, `evergreen sign`, `evergreen verify`.

Keys that sign lie in EVERGREEN_HOME/signing, public keys that are trusted here in EVERGREEN_HOME/trusted.
"""

import argparse
from pathlib import Path
from typing import Any

from flows.releasing.ledger import RELEASE_KEY, SIGNING, TRUSTED

BENTO = Path("build/bento")


def add_commands(commands: Any) -> None:
    """Add the commands to the command line's subparsers."""
    signer = commands.add_parser("signer", help="make a signing key, show its public half, trust another's")
    actions = signer.add_subparsers(title="actions", required=True, metavar="ACTION")
    create = actions.add_parser("create", help="make a signing key that you alone can read")
    create.add_argument("name", nargs="?", default=RELEASE_KEY, metavar="NAME", help=f"what to call it ({RELEASE_KEY})")
    create.set_defaults(run=_create)
    show = actions.add_parser("show", help="print a public key, to be given to those who shall trust it")
    show.add_argument("name", nargs="?", default=RELEASE_KEY, metavar="NAME", help=f"which one ({RELEASE_KEY})")
    show.set_defaults(run=_show)
    trust = actions.add_parser("trust", help="run only Bentos that this or another trusted key has signed")
    trust.add_argument("file", type=Path, metavar="FILE", help="public key, NAME.pub")
    trust.set_defaults(run=_trust)
    sign = commands.add_parser("sign", help="sign a Bento, once every file is found to be what its manifest says")
    sign.add_argument("bento", nargs="?", type=Path, default=BENTO, metavar="BENTO", help=f"its folder ({BENTO})")
    sign.add_argument("--key", default=RELEASE_KEY, metavar="NAME", help=f"the signing key ({RELEASE_KEY})")
    sign.set_defaults(run=_sign)
    verify = commands.add_parser("verify", help="check every file of a Bento, and who signed it")
    verify.add_argument("bento", nargs="?", type=Path, default=BENTO, metavar="BENTO", help=f"its folder ({BENTO})")
    verify.set_defaults(run=_verify)


def _create(given: argparse.Namespace) -> None:
    from evergreen.release.signing import create_key

    public = create_key(SIGNING, given.name)
    print(f"{public.with_suffix('.pem')}  signs; keep it to yourself, and a copy of it somewhere safe")
    print(f"{public}  is for those who shall trust it: evergreen signer trust {public.name}")


def _show(given: argparse.Namespace) -> None:
    from evergreen.release.signing import read_public

    print(read_public(SIGNING / f"{given.name}.pub"), end="")


def _trust(given: argparse.Namespace) -> None:
    from evergreen.release.signing import trust

    print(f"{trust(given.file, TRUSTED)}  is trusted; from now on a Bento must be signed by a key of that folder")


def _sign(given: argparse.Namespace) -> None:
    from evergreen.release.manifest import MANIFEST, SIGNATURE, verify
    from evergreen.release.signing import sign

    verified = verify(given.bento)
    known_as = sign(given.bento / MANIFEST, given.bento / SIGNATURE, SIGNING / f"{given.key}.pem")
    print(f"{verified.name}:{verified.version} is signed by {given.key} (key {known_as})")


def _verify(given: argparse.Namespace) -> None:
    from evergreen.release.manifest import verify

    verified = verify(given.bento, TRUSTED)
    vouched = f"signed by {verified.signed_by}" if verified.signed_by else f"no signature was asked for: {TRUSTED} holds no key"
    print(f"{verified.name}:{verified.version} is as it was built; {vouched}")
    print(f"manifest sha256 {verified.digest}")
