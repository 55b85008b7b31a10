"""What runs leave for Prefect's pages: the verdict as rows of a table, and where to read on. Knows nothing of Prefect."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

MARKS = {"pass": "kept", "fail": "not kept", "missing": "no evidence", "off": "off"}


def rules(verdict: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each rule of the gate, those that were not kept first."""
    order = ("fail", "missing", "pass", "off")
    return [
        {
            "rule": rule["title"],
            "outcome": MARKS[rule["outcome"]],
            "value": number(rule["value"]),
            "interval": " to ".join(map(number, rule["interval"])) if rule["interval"] else "",
            "bound": "" if rule["bound"] is None else f"{rule['side']} {rule['bound']:g}",
            "because": rule["because"],
        }
        for rule in sorted(verdict["rules"], key=lambda rule: order.index(rule["outcome"]))
    ]


def read_on(files: Mapping[str, Path]) -> list[str]:
    """Return lines of Markdown that name files: browsers follow no link from a server's page to a file, so the path stands there, too."""
    return ["## Read on", "", *(f"- [{name}]({path.as_uri()}): `{path}`" for name, path in files.items()), ""]


def number(value: float | None) -> str:
    """Return a figure of three decimals; nothing for none."""
    return "" if value is None else f"{value:,.3f}"
