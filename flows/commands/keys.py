"""`evergreen keys create | list | revoke`: the API keys of the service on this machine."""

import argparse

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evergreen.access import FILE, PERMISSIONS, USUAL, KeyFile, Permission
from evergreen.errors import AccessError
from flows import HOME


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `keys` and what it can do to the command line."""
    parser = commands.add_parser("keys", help="create, list and revoke the API keys of the service")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    create = actions.add_parser("create", help="make a key and show it once")
    create.add_argument("name", metavar="NAME", help="who will use it")
    create.add_argument(
        "--may", type=_permissions, default=USUAL, metavar="WHAT", help=f"some of {','.join(PERMISSIONS)}; without this {','.join(USUAL)}"
    )
    create.set_defaults(run=_create)
    actions.add_parser("list", help="show all keys, without their secrets").set_defaults(run=_list)
    revoke = actions.add_parser("revoke", help="refuse a key from now on; a running service does so within a second")
    revoke.add_argument("id", metavar="ID", help="as `evergreen keys list` shows it")
    revoke.set_defaults(run=_revoke)


def _permissions(given: str) -> tuple[Permission, ...]:
    asked = {part.strip() for part in given.split(",")}
    if unknown := sorted(asked - set(PERMISSIONS)):
        raise argparse.ArgumentTypeError(f"unknown permission {unknown[0]!r}; the choices are {', '.join(PERMISSIONS)}")
    return tuple(permission for permission in PERMISSIONS if permission in asked)


def _create(given: argparse.Namespace) -> None:
    key, shown = KeyFile(HOME / FILE).create(given.name, given.may)
    print(shown)  # alone on standard output, so that it can go straight to where secrets are kept
    told = Console(stderr=True, highlight=False)
    told.print(Text(f"Key {key.id} for {key.name}, who may {', '.join(key.may)}. It is shown this once and kept nowhere.", style="green"))
    told.print(Text("Callers send it as the header   Authorization: Bearer eg_…", style="dim"))


def _list(given: argparse.Namespace) -> None:
    keys = KeyFile(HOME / FILE).all()
    console = Console(highlight=False)
    if not keys:
        console.print("There are no keys: the service answers its own machine alone. Make one: evergreen keys create NAME")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("id", "name", "may", "created", "revoked"):
        table.add_column(title, no_wrap=True)
    for key in keys:
        revoked = f"{key.revoked:%Y-%m-%d %H:%M}" if key.revoked else ""
        style = "dim" if key.revoked else ""
        table.add_row(key.id, Text(key.name), ", ".join(key.may), f"{key.created:%Y-%m-%d %H:%M}", revoked, style=style)
    console.print(table)


def _revoke(given: argparse.Namespace) -> None:
    path = HOME / FILE
    if not path.exists():
        raise AccessError(f"there is no key {given.id!r}, as there are no keys at all")
    key = KeyFile(path).revoke(given.id)
    Console(highlight=False).print(
        Text(f"Key {key.id} of {key.name} is revoked; a running service refuses it within a second.", style="green")
    )
