"""Every report -> one verdict: PROMOTE, HOLD or REJECT, each rule with its value, bound and outcome.

Where params.yaml says `on_reject: fail`, a REJECT ends the stage with status 1. A failed stage leaves no output, so that
nothing downstream runs; the verdict itself is kept in the folder `refused` of EVERGREEN_HOME.
"""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from evergreen.config import Params
from evergreen.errors import EvidenceError, RejectedError
from evergreen.evaluation.verdict import judge
from evergreen.reports import read_report, write_report
from stages._run import home, main, say

REPORTS = ("metrics", "audit", "compression", "latency", "challenge")
STYLES = {
    "PROMOTE": "bold green",
    "HOLD": "bold yellow",
    "REJECT": "bold red",
    "pass": "green",
    "fail": "red",
    "missing": "red",
    "off": "dim",
}
PLAIN_WIDTH = 100  # columns, where the output is no terminal and has no width of its own


def gate(params: Params, inputs: SimpleNamespace, outputs: SimpleNamespace) -> None:
    """Judge the model by its reports; write the verdict, or refuse where a person asked for that."""
    evidence = {name: _evidence(getattr(inputs, name)) for name in REPORTS}
    verdict = judge(rules=params.gate.rules, model_version=_evidence(inputs.evaluation).get("model_version"), **evidence)
    _print(verdict)
    refused = home() / "refused"
    shutil.rmtree(refused, ignore_errors=True)
    if verdict["verdict"] == "REJECT" and params.gate.on_reject == "fail":
        refused.mkdir(parents=True)
        write_report(verdict, refused / "verdict.json")
        raise RejectedError(_refusal(verdict, refused / "verdict.json"))
    write_report(verdict, outputs.verdict)


def _evidence(path: Path) -> dict[str, Any]:
    """Read a report; one that cannot be read is evidence of nothing, and its fault is the reason that the rules give."""
    try:
        return read_report(path)
    except EvidenceError as fault:
        return {"reason": str(fault)}


def _print(verdict: dict[str, Any]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PLAIN_WIDTH)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title, side in (("rule", "left"), ("value", "right"), ("interval", "right"), ("bound", "left"), ("outcome", "left")):
        table.add_column(title, justify=side, no_wrap=title != "rule")  # type: ignore[arg-type]
    for rule in verdict["rules"]:
        table.add_row(rule["title"], _number(rule["value"], rule["unit"]), _interval(rule), _bound(rule), _outcome(rule))
    console.print(Padding(table, (0, 0, 0, 2)))
    word, _, rest = verdict["summary"].partition(":")
    console.print(Text.assemble("  ", (word, STYLES[word]), f":{rest}"), soft_wrap=True)
    for rule in verdict["rules"]:
        if rule["outcome"] in {"fail", "missing"}:
            say(f"- {rule['because']}")


def _outcome(rule: dict[str, Any]) -> Text:
    shown = {"fail": f"fail -> {rule['failure']}", "missing": f"no evidence -> {rule['failure']}"}.get(rule["outcome"], rule["outcome"])
    return Text(shown, style=STYLES[rule["outcome"]])


def _bound(rule: dict[str, Any]) -> str:
    if rule["bound"] is None:
        return ""
    unit = f" {rule['unit']}" if rule["unit"] in {"MB", "ms"} else ""
    side = "more than" if rule["strict"] else rule["side"]
    return f"{side} {rule['bound']:g}{unit}"


def _interval(rule: dict[str, Any]) -> str:
    return "" if rule["interval"] is None else " to ".join(_number(end, rule["unit"]) for end in rule["interval"])


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{value:,.1f}" if unit in {"MB", "ms"} else f"{value:z.3f}"


def _refusal(verdict: dict[str, Any], kept: Path) -> str:
    reasons = [
        f"  - {rule['because']}" for rule in verdict["rules"] if rule["outcome"] in {"fail", "missing"} and rule["failure"] == "reject"
    ]
    return "\n".join(
        [
            "the model is rejected, and gate.on_reject is fail, so the pipeline ends here:",
            *reasons,
            f"The verdict is kept in {kept}; nothing was documented or packaged. Improve the model or its data and run again,",
            "or set gate.on_reject to report in params.yaml to go on in spite of it.",
        ]
    )


if __name__ == "__main__":
    main(gate)
