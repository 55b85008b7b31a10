"""`evergreen traffic export | status | prune`: what the request log holds, taken out as examples, and cut back."""

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from evergreen.errors import LogError
from evergreen.wording import counted
from flows.commands.screen import screen
from flows.request_log import log_url, moment, opened, settings

if TYPE_CHECKING:
    from evergreen.monitoring.log.overview import Overview
    from evergreen.monitoring.log.records import Role

ROLES: dict[str, "tuple[Role, ...]"] = {
    "answered": ("champion", "canary"),
    "champion": ("champion",),
    "canary": ("canary",),
    "shadow": ("shadow",),
}


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `traffic` and what it can do to the command line."""
    parser = commands.add_parser("traffic", help="what the service has answered: show it, export it, cut it back")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    when = "2026-11-01, 2026-11-01T08:00, or how long ago: 12h, 7d"
    export = actions.add_parser("export", help="write answers and their labels as Parquet, in the form of examples")
    export.add_argument("--out", required=True, type=Path, metavar="FILE", help="the Parquet file")
    export.add_argument("--since", type=moment, metavar="WHEN", help=f"answers from then on: {when}")
    export.add_argument("--until", type=moment, metavar="WHEN", help="answers before then")
    export.add_argument("--labelled", action="store_true", help="only those whose right label was told")
    export.add_argument(
        "--role", choices=tuple(ROLES), default="answered", help="answered (what callers were told) unless this says otherwise"
    )
    export.add_argument("--model-version", metavar="VERSION", help="only answers of this version")
    export.add_argument("--group", action="append", metavar="NAME", help="export this group; may be repeated; all without this")
    export.set_defaults(run=_export)
    status = actions.add_parser("status", help="show how much there is, of which version, and how much is labelled")
    status.set_defaults(run=_status)
    prune = actions.add_parser("prune", help="delete now what is older or more than params.yaml keeps (the service does so by itself)")
    prune.add_argument("--days", type=float, metavar="N", help="keep this many days instead")
    prune.add_argument("--megabytes", type=float, metavar="N", help="keep this much instead")
    prune.set_defaults(run=_prune)
    for action in (export, status, prune):
        action.add_argument("--log", metavar="URL", help="database of the request log, instead of params.yaml's serve.log.url")


def _export(given: argparse.Namespace) -> None:
    from evergreen.monitoring.log.request_log import Window
    from evergreen.monitoring.log.traffic import export

    if given.since is not None and given.until is not None and given.since >= given.until:
        raise LogError(f"the window is empty: --since {_moment(given.since)} does not lie before --until {_moment(given.until)}")
    window = Window(given.since, given.until, given.model_version, ROLES[given.role], given.labelled)
    console = screen()
    with opened(given.log or log_url()) as engine, console.status("writing …"):
        written = export(engine, window, given.out, groups=given.group)
    if not written.rows:
        raise LogError(
            f"the request log holds no such answers{_between(given)}; nothing was written. `evergreen traffic status` says what it holds"
        )
    assert written.first is not None and written.last is not None
    console.print(
        Text(
            f"{counted(written.rows, 'answer')} from {_moment(written.first)} to {_moment(written.last)} UTC in {given.out}", style="green"
        ),
        soft_wrap=True,
    )
    console.print(
        f"  {written.labelled:,} labelled ({written.labelled / written.rows:.1%}); versions {', '.join(written.labels)}", soft_wrap=True
    )


def _between(given: argparse.Namespace) -> str:
    since = f" since {_moment(given.since)}" if given.since is not None else ""
    return since + (f" until {_moment(given.until)}" if given.until is not None else "")


def _status(given: argparse.Namespace) -> None:
    from evergreen.home import spool
    from evergreen.monitoring.log.journal import pending_lines
    from evergreen.monitoring.log.overview import overview

    console, waiting = screen(), pending_lines(spool())
    try:
        with opened(given.log or log_url()) as engine:
            found, place = overview(engine), str(engine.url)
    except LogError as fault:
        raise LogError(f"{fault}; {counted(waiting, 'row')} in {spool()} wait for it" if waiting else str(fault)) from None
    console.print()
    console.print(Text(f"{counted(found.rows, 'answer')} on record, {found.bytes / 1e6:,.1f} MB", style="bold"))
    if found.parts:
        console.print(Padding(_parts(found), (0, 0, 0, 2)))
    console.print()
    console.print(Padding(_facts(found, place, waiting), (0, 0, 0, 2)))
    console.print()


def _parts(found: "Overview") -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name, justify in (("version", "left"), ("role", "left"), ("answers", "right"), ("labelled", "right"), ("for a person", "right")):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("first (UTC)", no_wrap=True)
    table.add_column("last", no_wrap=True)
    for part in found.parts:
        shares = (f"{count / part.rows:.1%}" for count in (part.labelled, part.for_a_person))
        table.add_row(Text(part.version), part.role, f"{part.rows:,}", *shares, _moment(part.first), _moment(part.last))
    return table


def _facts(found: "Overview", place: str, waiting: int) -> Table:
    from evergreen.home import spool
    from evergreen.monitoring.log.refused import NAME, refused_rows

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row("labels told", f"{found.labels:,}", Text("corrections included", style="dim"))
    table.add_row("on the way", f"{waiting:,}", Text("rows in the journal, not yet in the database", style="dim"))
    table.add_row("database", Text(place), "")
    if refused := refused_rows(spool()):
        table.add_row("refused", f"{refused:,}", Text(f"rows that the database would not take, in {spool() / NAME}", style="dim"))
    limits = settings()
    if limits:
        table.add_row("keeps", f"{limits.keep_days:,} days, {limits.keep_megabytes:,} MB", Text("serve.log of params.yaml", style="dim"))
    return table


def _prune(given: argparse.Namespace) -> None:
    import time

    from evergreen.monitoring.log.overview import overview
    from evergreen.monitoring.log.retention import Limits, retire

    configured = settings()
    days = given.days if given.days is not None else configured.keep_days if configured else None
    megabytes = given.megabytes if given.megabytes is not None else configured.keep_megabytes if configured else None
    if days is None or megabytes is None:
        raise LogError(
            "there is no params.yaml here to say how much to keep; run from the project's folder, or give --days and --megabytes"
        )
    if days < 0 or megabytes <= 0:
        raise LogError("--days must not be negative, and --megabytes must be positive")
    console = screen()
    with opened(given.log or log_url()) as engine, console.status("deleting …"):
        before, now = overview(engine), time.time()
        while not retire(engine, Limits(seconds=days * 86_400, bytes=int(megabytes * 1e6)), now=now):
            pass
        after = overview(engine)
    gone = before.rows - after.rows
    console.print(Text(f"{counted(gone, 'answer')} deleted, {after.rows:,} kept in {after.bytes / 1e6:,.1f} MB", style="green"))


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
