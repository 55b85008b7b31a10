"""What a look came to, in words: one sentence, and a page of Markdown for Prefect's artifacts. Knows nothing of either."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from evergreen.wording import counted

if TYPE_CHECKING:
    from flows.look import Look

Facts = Mapping[str, Any]


def sentence(found: "Look") -> str:
    """Return what a look came to in one line."""
    if found.facts is None:
        return found.waiting or "nothing to look at"
    drift = "drift" if found.facts["drift"]["alarm"] else "no drift"
    decided = f"; decision: {found.decision.action}" if found.decision else ""
    return f"window {found.facts['number']} of {found.facts['model_version']}, {counted(found.facts['rows'], 'answer')}: {drift}{decided}"


def markdown(found: "Look") -> str:
    """Return what a look came to as Markdown: the decision first, then figures and tests."""
    lines = [f"# {sentence(found)}", ""]
    if found.decision:
        lines += [f"**{found.decision.action}**: {found.decision.because}", ""]
    if found.facts is None:
        return "\n".join(lines)
    facts = found.facts
    lines += [f"{moment(facts['since'])} to {moment(facts['until'])} UTC, {facts['rows']:,} answers, {facts['labelled']:,} labelled", ""]
    lines += ["| | now | at the snapshot | lost |", "|---|---|---|---|"]
    lines += [
        _figures("accuracy, measured by late labels", facts["quality"]),
        _figures("accuracy, estimated without labels", facts["estimate"]),
    ]
    lines += ["", "| test | kind | p-value | | where |", "|---|---|---|---|---|"]
    for test in sorted(facts["drift"]["tests"], key=lambda test: (not test["alarm"], test["p_value"] is None, test["p_value"])):
        p_value = "–" if test["p_value"] is None else f"{test['p_value']:.2g}"
        lines.append(
            f"| {_safe(test['name'])} | {test['kind']} | {p_value} | {'**alarm**' if test['alarm'] else ''} | {_safe(test['note'])} |"
        )
    return "\n".join(lines)


def moment(seconds: float) -> str:
    """Return a point in time in UTC, as people read it."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"


def _figures(name: str, part: Facts | None) -> str:
    if not part or not part.get("accuracy"):
        return f"| {name} | – | – | – |"
    return f"| {name} | {spanned(part['accuracy'])} | {_number(part.get('reference'))} | {spanned(part.get('loss'))} |"


def spanned(figure: Facts | None) -> str:
    """Return a figure with its interval."""
    return "–" if not figure else f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _safe(text: str | None) -> str:
    """Return a text that neither breaks a table nor becomes markup."""
    return (
        (text or "")
        .replace("\\", "\\\\")
        .replace("|", "\\|")
        .replace("<", "&lt;")
        .replace("\n", " ")
        .replace("*", "\\*")
        .replace("_", "\\_")
    )
