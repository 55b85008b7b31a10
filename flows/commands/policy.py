"""`evergreen policy backtest`: the policy with other settings, tried on the windows that were recorded."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from evergreen.errors import ConfigError, MonitorError
from evergreen.wording import counted
from flows.commands.screen import screen
from flows.request_log import log_url, moment, opened

if TYPE_CHECKING:
    from evergreen.config import Params
    from evergreen.monitoring.backtest import Replay
    from evergreen.sections.loop import Policy

WINDOW = {
    "id",
    "model_version",
    "reference",
    "since",
    "until",
    "rows",
    "labelled",
    "drift",
}  # without these there is nothing to decide upon
HOUR = 3600
ACTIONS = {"retrain": "bold red", "wait": "yellow", "nothing": "green"}
ASSUMED = (
    "Assumed: a model loses as much accuracy as the world has moved since its data was taken, and each retraining catches up and goes "
    "live before the next window. Settings act on figures that are high partly by chance, so what they save is told a little too well."
)


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `policy` and what it can do to the command line."""
    parser = commands.add_parser("policy", help="when a model is trained anew: try other settings on recorded windows")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    backtest = actions.add_parser("backtest", help="decide again on the recorded windows: what would have been decided, cost, and saved")
    backtest.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="changes", help="a setting of `policy`, such as persistence=3"
    )
    backtest.add_argument("--since", type=moment, metavar="WHEN", help="windows from then on: 2026-11-01, 7d")
    backtest.add_argument("--until", type=moment, metavar="WHEN", help="windows that ended by then")
    backtest.add_argument("--windows", type=Path, metavar="FILE", help="windows as `evergreen monitor show --json` prints them")
    backtest.add_argument("--hours", type=float, metavar="N", help="of one retraining; without it, the mean of those on record")
    backtest.add_argument("--log", metavar="URL", help="database of the request log, instead of params.yaml's serve.log.url")
    backtest.add_argument("--json", action="store_true", help="as JSON, for programs")
    backtest.set_defaults(run=_backtest)


def _backtest(given: argparse.Namespace) -> None:
    from evergreen.config import load_params
    from evergreen.monitoring.backtest import replay

    params = load_params(Path("params.yaml"))
    tried = changed(params.policy, given.changes)
    windows, hours = _recorded(given)
    since, until = given.since or float("-inf"), given.until or float("inf")
    windows = [window for window in windows if window["since"] >= since and window["until"] <= until]
    if not windows:
        raise MonitorError("there is no recorded window to decide upon; `evergreen monitor` judges one")
    silent = tried.model_copy(update={"max_age_days": None, "new_labels": None, "measured_loss": None, "estimated_loss": None})
    columns = {"never": replay(windows, silent), "as it stands": replay(windows, params.policy)}
    if given.changes:
        columns[", ".join(given.changes)] = replay(windows, tried)
    if given.json:
        print(json.dumps({name: _as_json(found) for name, found in columns.items()}, indent=2))
        return
    _show(columns, params, hours if given.hours is None else given.hours)


def changed(policy: "Policy", changes: list[str]) -> "Policy":
    """Return a policy with some settings changed; raise ConfigError for a setting that there is not or a value that cannot be."""
    import yaml
    from pydantic import ValidationError

    from evergreen.sections.loop import Policy

    content = policy.model_dump()
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals or name not in content:
            raise ConfigError(f"--set {change}: write NAME=VALUE with one of {', '.join(content)}")
        try:
            content[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(f"--set {change}: {value!r} is no value as params.yaml has them") from None
    try:
        return Policy.model_validate(content)
    except ValidationError as fault:
        told = "; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}, got {error['input']!r}" for error in fault.errors())
        raise ConfigError(f"--set: {told}") from None


def _recorded(given: argparse.Namespace) -> tuple[list[dict[str, Any]], float | None]:
    """Return the recorded windows, oldest first, and how many hours a retraining took on average."""
    if given.windows:
        try:
            content = json.loads(given.windows.read_text(encoding="utf-8"))
            windows = list(content["windows"] if isinstance(content, dict) else content)
            if strange := [window for window in windows if not isinstance(window, dict) or not window.keys() >= WINDOW]:
                raise ValueError(f"{len(strange)} of {len(windows)} have not all of {', '.join(sorted(WINDOW))}")
            return windows, None
        except (OSError, ValueError, KeyError, TypeError) as fault:
            raise MonitorError(f"{given.windows} holds no windows as `evergreen monitor show --json` prints them ({fault})") from None
    from evergreen.monitoring.log import tables
    from evergreen.monitoring.loop import loop_tables, slot
    from evergreen.monitoring.watch import history

    with opened(given.log or log_url()) as engine:
        tables.check(engine, name=history.NAME, version=history.SCHEMA)
        loop_tables.prepare(engine)
        windows = history.read(engine)
        took = [one.ended - one.started for one in slot.retrainings(engine, limit=1000) if one.state == "finished" and one.ended]
    return windows, sum(took) / len(took) / HOUR if took else None


def _as_json(found: "Replay") -> dict[str, Any]:
    steps = [{"window": step.window["id"], "loss": step.loss, **step.decision.as_json()} for step in found.steps]
    return {
        "retrainings": len(found.retrainings),
        "waited": found.waited,
        "saved": dict(found.saved),
        "mean_loss": found.mean_loss,
        "steps": steps,
    }


def _show(columns: "dict[str, Replay]", params: "Params", hours: float | None) -> None:
    console = screen(120)
    last = next(reversed(columns.values()))
    console.print()
    console.print(Text(f"{counted(len(last.steps), 'window')}, {counted(last.answers, 'answer')}", style="bold"))
    console.print(Padding(_totals(columns, params, hours), (1, 0, 1, 2)))
    console.print(Padding(_decisions(columns), (0, 0, 1, 2)))
    console.print(Text(ASSUMED, style="dim"))


def _totals(columns: "dict[str, Replay]", params: "Params", hours: float | None) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    found = columns.values()
    table.add_row("retrainings", *(str(len(one.retrainings)) for one in found))
    table.add_row("windows held back", *(str(one.waited) for one in found))
    if hours is None:
        table.add_row("cost", *("-" if not one.retrainings else "no retraining is on record: --hours" for one in found))
    else:
        spent = [len(one.retrainings) * hours for one in found]
        table.add_row("cost", *(f"{each:.2f} h, {each * params.document.watts / 1000:.2f} kWh" for each in spent))
    table.add_row("accuracy lost, mean", *(f"{one.mean_loss:.4f}" for one in found))
    saved = [f"{one.saved['value']:,.0f} ({one.saved['low']:,.0f} … {one.saved['high']:,.0f})" if one.retrainings else "-" for one in found]
    table.add_row("wrong answers saved", *saved)
    return table


def _decisions(columns: "dict[str, Replay]") -> Table:
    """Return the windows in which any of the settings decides to do something, each with its decisions."""
    from evergreen.monitoring.policy import moment as at

    shown = {name: found for name, found in columns.items() if name != "never"}
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("window", "until", "loss", *shown):
        table.add_column(name, no_wrap=True)
    table.add_column("because")
    for steps in zip(*(found.steps for found in shown.values()), strict=True):
        if all(step.decision.action == "nothing" for step in steps):
            continue
        window, newest = steps[-1].window, steps[-1]
        actions = [Text(step.decision.action, ACTIONS[step.decision.action]) for step in steps]
        table.add_row(window["id"][:8], at(window["until"]), f"{newest.loss:.3f}", *actions, Text(newest.decision.because, style="dim"))
    return table
