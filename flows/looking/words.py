"""What a look came to, in words: one sentence, and a page of Markdown for Prefect's artifacts. Knows nothing of either."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from evergreen.drift.assumption import SENTENCE
from evergreen.wording import counted

if TYPE_CHECKING:
    from flows.looking.look import Look

Facts = Mapping[str, Any]


def sentence(found: "Look") -> str:
    """Return what a look came to in one line."""
    if found.facts is None:
        return found.waiting or "nothing to look at"
    drift = drift_of(found.facts)
    decided = f"; decision: {found.decision.action}" if found.decision else ""
    return f"window {found.facts['number']} of {found.facts['model_version']}, {counted(found.facts['rows'], 'answer')}: {drift}{decided}"


def drift_of(facts: Facts) -> str:
    """Say whether a window drifts: untested it shows neither drift nor that there is none."""
    if facts["drift"]["alarm"]:
        return "drift"
    return "not tested for drift" if facts["drift"]["p_value"] is None else "no drift"


def markdown(found: "Look") -> str:
    """Return what a look came to as Markdown: the decision first, then figures, what has changed, and tests."""
    lines = [f"**{found.decision.action}**: {found.decision.because}" if found.decision else sentence(found), ""]
    if found.page:
        lines += [f"The whole account, over all windows: `{found.page}`", ""]
    if found.facts is None:
        return "\n".join(lines)
    facts = found.facts
    lines += [f"{moment(facts['since'])} to {moment(facts['until'])} UTC, {facts['rows']:,} answers, {facts['labelled']:,} labelled", ""]
    if facts.get("late"):  # windows of an earlier time do not count them
        lines += [late(facts), ""]
    lines += ["| accuracy | now | at the snapshot | lost |", "|---|---|---|---|"]
    lines += [
        _figures(name, facts, facts[part]) for name, part in (("by late labels", "quality"), ("estimated without labels", "estimate"))
    ]
    if facts["estimate"]:
        lines += ["", SENTENCE]
    lines += ["", *_changes(facts["explanation"] or {})]
    lines += ["## Drift tests", ""]
    if note := facts["drift"].get("note"):
        lines += [f"{drift_of(facts).capitalize()}: {note}.", ""]
    lines += ["| test | kind | p-value | | where |", "|---|---|---|---|---|"]
    for test in sorted(facts["drift"]["tests"], key=lambda test: (not test["alarm"], test["p_value"] is None, test["p_value"])):
        p_value = "–" if test["p_value"] is None else f"{test['p_value']:.2g}"
        where = " ".join(filter(None, [test.get("note"), f"({test['scale']})" if test.get("scale") not in (None, "window") else ""]))
        lines.append(f"| {_safe(test['name'])} | {test['kind']} | {p_value} | {'**alarm**' if test['alarm'] else ''} | {_safe(where)} |")
    return "\n".join(lines)


def _changes(explanation: Facts) -> list[str]:
    """Return the words and slices that have changed as a table; nothing where none has."""
    words = [(f"word {one['word']}{' (new)' if one['new'] else ''}", one) for one in explanation.get("words", [])]
    changes = words + [(f"{one['by']} {one['name']}", one) for one in explanation.get("slices", [])]
    if not changes:
        return []
    rows = [f"| {_safe(name)} | {one['now']:.1%} | {one['before']:.1%} |" for name, one in changes]
    return ["## What has changed", "", "| | now | at the snapshot |", "|---|---|---|", *rows, ""]


def late(facts: Facts) -> str:
    """Say what became of answers that reached the log after their window had been judged."""
    return f"{counted(facts['late'], 'answer')} of the window before came in after it was judged; the newest windows together hold them"


def moment(seconds: float) -> str:
    """Return a point in time in UTC, as people read it."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"


def _figures(name: str, facts: Facts, part: Facts | None) -> str:
    if not part or not part.get("accuracy"):
        return f"| {name} | – | – | – |"
    return f"| {name} | {spanned(part['accuracy'])} | {facts['accuracy_at_snapshot']:.3f} | {spanned(part.get('loss'))} |"


def spanned(figure: Facts | None) -> str:
    """Return a figure with its interval."""
    return "–" if not figure else f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


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
