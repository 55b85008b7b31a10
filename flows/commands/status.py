"""`evergreen status`: what is live, how traffic looks, what was decided, what runs next. Reads, and changes nothing.

Every part may be missing (no service, no Prefect, no request log, no git): then it says so, and the others are shown all the same.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from evergreen.drift.assumption import IN_SHORT
from evergreen.errors import EvergreenError, LogError, RegistryError, ReleaseError
from evergreen.release.control import ask
from evergreen.release.control import running as answers
from evergreen.release.live import Place
from evergreen.wording import counted
from flows import HOME
from flows.commands.screen import screen
from flows.running import connection, prefect_api

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flows.running.components import Component

STATES = {"Completed": "green", "Running": "cyan", "Failed": "red", "Crashed": "red", "Cancelled": "yellow", "Late": "yellow"}


@dataclass
class Run:
    """A run of a flow, or a scheduled one."""

    deployment: str
    name: str
    state: str
    time: str  # ISO 8601: of its start, or when it is due
    message: str = ""


@dataclass
class Status:
    """How things stand; None and empty where nothing is known."""

    version: str | None = None  # the live model's own
    name: str | None = None  # v1.2.0, where the registry knows it
    since: str | None = None
    previous: str | None = None
    trial: str | None = None
    waiting: str | None = None  # a PROMOTE that nobody has released
    answering: bool = False
    address: str | None = None
    runs: list[Run] = field(default_factory=list)
    upcoming: list[Run] = field(default_factory=list)
    prefect: str | None = None
    window: dict[str, Any] | None = None  # facts of the newest window of traffic
    decision: dict[str, Any] | None = None  # the newest one: action, trigger, because, time
    alerts: list[dict[str, Any]] = field(default_factory=list)  # those that wait for a retraining, or have one
    notes: list[str] = field(default_factory=list)

    @property
    def called(self) -> str:
        """What to call the live version: its name and its model, or the model alone."""
        return f"{self.name} ({self.version})" if self.name else str(self.version)

    @property
    def headline(self) -> str:
        """One line: what is live, and what runs."""
        live = f"live: {self.called}" if self.version else "nothing is live yet: `evergreen retrain` makes the first version"
        busy = [f"{run.deployment} {run.state.lower()}" for run in self.runs if run.state in ("Running", "Pending")]
        return " · ".join([live, *busy, *([counted(len(self.alerts), "open alert")] if self.alerts else [])])


def add_commands(commands: Any) -> None:
    """Add `status` to the command line."""
    status = commands.add_parser("status", help="show what is live, the last window of traffic, runs, alerts, and what comes next")
    status.add_argument("--json", action="store_true", help="as JSON, for programs")
    status.set_defaults(run=_status)


def _status(given: argparse.Namespace) -> None:
    status = gather(Path.cwd(), connection.api())
    if given.json:
        print(json.dumps(asdict(status), indent=2))
        return
    screen().print(shown(status))


def gather(root: Path, api: str | None) -> Status:
    """Look at every part, and return what is known."""
    status = Status(prefect=api.removesuffix("/api") if api else None)
    for part in (_live, _registered, _watched):
        try:
            part(status, root)
        except EvergreenError as fault:
            status.notes.append(str(fault))
    if api:
        try:
            _prefect(status, api)
        except (OSError, ValueError, KeyError) as fault:
            status.notes.append(f"Prefect does not answer on {api} ({fault})")
    return status


def _live(status: Status, root: Path) -> None:
    place = Place(HOME)
    pointer = place.read()
    if pointer is None:
        return
    status.version, status.since = pointer.champion.version, pointer.since
    status.previous = pointer.previous.version if pointer.previous else None
    status.trial = f"{pointer.trial.release.version}, {pointer.trial.mode}" if pointer.trial else None
    status.answering = answers(place)
    if status.answering:
        try:
            status.address = ask(place, {"command": "live"})["address"]
        except ReleaseError as fault:
            status.notes.append(str(fault))


def _registered(status: Status, root: Path) -> None:
    """Read what the registry calls the live version, what waits for a release, and whose word has ended."""
    from evergreen.release.ledger import Ledger
    from evergreen.release.registry import Registry
    from flows.releasing.settle import overrides, pending

    try:
        registry = Registry(root)
        versions, entries = registry.versions(), Ledger(registry).read()
    except RegistryError as fault:
        if "not a git repository" in str(fault):
            return
        raise
    live = next((version for version in reversed(versions) if version.model_version == status.version), None)
    status.name = live.name if live else None
    waiting = pending(entries)
    status.waiting = f"model {waiting.model_version}: {waiting.why}" if waiting else None
    override = overrides(entries, live.commit) if live else None
    if live and override and float(override.facts["until"]) < time.time():
        status.notes.append(f"{live.name} is live on the word of {override.who}, which has ended: promote another, or override anew")


def _watched(status: Status, root: Path) -> None:
    """Read the newest window, the newest decision and the open alerts, where anything is on record yet."""
    from sqlalchemy import inspect

    from evergreen.monitoring.loop import alerts, loop_tables
    from evergreen.monitoring.watch import history
    from flows.request_log import log_url, opened

    try:
        with opened(log_url(root)) as engine:
            there = set(inspect(engine).get_table_names())
            if not {*history.metadata.tables, *loop_tables.metadata.tables} <= there:
                return  # nothing has been looked at yet
            status.window = next(iter(history.read(engine, last=1)), None)
            for made in history.read_decisions(engine, last=1):
                status.decision = {name: getattr(made, name) for name in ("action", "trigger", "because", "time", "window")}
            status.alerts = [asdict(alert) for alert in alerts.listed(engine, states=("open", "taken"))]
    except LogError as fault:
        if status.version:
            status.notes.append(str(fault))


def _prefect(status: Status, api: str) -> None:
    names = {item["id"]: item["name"] for item in prefect_api.ask(api, "deployments/filter", {}) if "evergreen" in item["tags"]}
    known = {"deployments": {"id": {"any_": list(names)}}}
    if not names:
        return
    begun = {**known, "flow_runs": {"start_time": {"is_null_": False}}, "sort": "START_TIME_DESC", "limit": 6}
    due = {**known, "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}, "sort": "NEXT_SCHEDULED_START_TIME_ASC", "limit": 40}
    for item in prefect_api.ask(api, "flow_runs/filter", begun):
        words = (item["state"] or {}).get("message") or ""
        status.runs.append(Run(names[item["deployment_id"]], item["name"], item["state_name"], item["start_time"], words.strip()[:200]))
    for item in prefect_api.ask(api, "flow_runs/filter", due):
        if names[item["deployment_id"]] not in {run.deployment for run in status.upcoming}:
            when = item["next_scheduled_start_time"] or item["expected_start_time"]
            status.upcoming.append(Run(names[item["deployment_id"]], item["name"], item["state_name"], when))


def shown(status: Status, components: "Sequence[Component]" = ()) -> RenderableType:
    """Return the status as a person reads it."""
    parts: list[RenderableType] = []
    if components:
        parts.append(_processes(components))
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for name, value in _lines(status):
        table.add_row(name, value)
    parts.append(table)
    for note in status.notes:
        parts.append(Text(note, style="yellow"))
    return Padding(Group(*parts), (1, 0, 1, 0))


def _lines(status: Status) -> "list[tuple[str, Text]]":
    lines = []
    if status.version:
        since = f"  since {_when(status.since)}" if status.since else ""
        asleep = "" if status.answering else "  (no service runs)"
        lines.append(("live", Text.assemble((status.called, "bold green"), since, (asleep, "yellow"))))
        if status.previous:
            lines.append(("before it", Text(status.previous)))
        if status.trial:
            lines.append(("on trial", Text(status.trial)))
    else:
        lines.append(("live", Text("nothing yet; `evergreen retrain` makes the first version", style="yellow")))
    if status.waiting:
        lines.append(("waits", Text(f"{status.waiting}: evergreen promote", style="yellow")))
    lines += _watch_lines(status)
    for place, run in enumerate(status.runs):
        style = STATES.get(run.state, "")
        words = f"  {run.message}" if run.message and run.state not in ("Completed",) else ""
        lines.append(
            ("" if place else "last runs", Text.assemble(f"{run.deployment:<8} {_when(run.time)}  ", (run.state, style), (words, "dim")))
        )
    for place, run in enumerate(status.upcoming):
        lines.append(("" if place else "next", Text(f"{run.deployment:<8} {_when(run.time)}")))
    if status.address:
        lines.append(("service", Text(status.address)))
    lines.append(("Prefect", Text(status.prefect or "not running; `evergreen up` starts it", style="" if status.prefect else "dim")))
    return lines


def _watch_lines(status: Status) -> "list[tuple[str, Text]]":
    lines = []
    if status.window:
        window, drift = status.window, status.window["drift"]
        words = Text.assemble(
            ("drift", "bold yellow") if drift["alarm"] else ("not tested", "yellow") if drift["p_value"] is None else ("quiet", "green"),
            f", {window['rows']:,} answers until {_clock(window['until'])}",
        )
        for name in ("quality", "estimate"):
            if window[name] and window[name]["accuracy"]:
                words.append(f", accuracy {'measured' if name == 'quality' else 'estimated'} {window[name]['accuracy']['value']:.3f}")
                words.append(f" ({IN_SHORT})" if name == "estimate" else "")
        lines.append(("last window", words))
    if status.decision:
        lines.append(("decision", Text(f"{status.decision['action']}: {status.decision['because']}")))
    for place, alert in enumerate(status.alerts):
        lines.append(("" if place else "alerts", Text(f"{alert['state']}: {alert['trigger']}, {alert['because']}", style="yellow")))
    return lines


def _processes(components: "Sequence[Component]") -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 3, 0, 0))
    for item in components:
        style = {"running": "green", "down": "red", "waiting": "dim"}.get(item.state, "yellow")
        table.add_row(
            item.name, Text(item.state, style=style), Text(f"restarted {item.restarts}x" if item.restarts else "", style="yellow")
        )
    return table


def _clock(seconds: float) -> str:
    return _when(datetime.fromtimestamp(seconds, UTC).isoformat())


def _when(moment: str | None) -> str:
    if not moment:
        return "-"
    local = datetime.fromisoformat(moment).astimezone()
    today = datetime.now(UTC).astimezone().date() == local.date()
    return f"{local:%H:%M:%S}" if today else f"{local:%Y-%m-%d %H:%M}"
