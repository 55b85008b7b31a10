"""What a retraining came to, in words: a page of Markdown for Prefect's artifacts. Knows nothing of them."""

from collections.abc import Mapping
from typing import Any

from flows.making.retraining import Outcome
from flows.pages import number, read_on

Facts = Mapping[str, Any]


def markdown(outcome: Outcome) -> str:
    """Return the page: the verdict, champion against challenger, the data, and where to read on."""
    if outcome.candidate is None:
        return f"# Nothing was trained\n\n{outcome.words}\n"
    found = outcome.candidate
    lines = [f"# {found.verdict['summary']}", "", f"Model `{found.model_version}`, commit `{found.commit[:12]}` of evergreen/models."]
    if outcome.released:
        lines += ["", f"**Release**: {outcome.released}"]
    lines += ["", *_challenge(found.challenge), *_data(found.data)]
    if outcome.keepsakes is not None:
        pages_first = sorted(outcome.keepsakes.iterdir(), key=lambda path: (path.suffix != ".html", path.name))
        lines += read_on({path.name: path for path in pages_first})
    return "\n".join(lines)


def _challenge(challenge: Facts) -> list[str]:
    if not challenge.get("champion"):
        return ["There was no champion to compare with: this is a first version.", ""]
    who = challenge["champion"]
    lines = [f"## Against {who.get('version')} (`{who['model_version']}`), on the same test rows", ""]
    lines += ["| rows | number | champion | challenger | difference | interval | McNemar p |", "|---|---|---|---|---|---|---|"]
    for name in ("new", "old", "all"):
        if part := challenge.get(name):
            difference = part["difference"]
            figures = (
                *(number((part.get(one) or {}).get("value")) for one in ("champion", "challenger")),
                f"{difference['value']:+.3f}",
                f"{difference['low']:+.3f} to {difference['high']:+.3f}",
                number(part.get("mcnemar_p")),
            )
            lines.append(f"| {name} | {part['rows']:,} | {' | '.join(figures)} |")
    power = (challenge.get("new") or {}).get("power") or {}
    return [*lines, "", *([power["words"], ""] if power.get("words") else [])]


def _data(data: Facts | None) -> list[str]:
    if data is None:
        return []
    lines = ["## Data", "", "| | train | validation | calibration | test |", "|---|---|---|---|---|"]
    lines += [
        f"| {title} | {' | '.join(f'{data[key][name]:,}' for name in data[key])} |" for key, title in (("kept", "old"), ("new", "new"))
    ]
    said = [f"New rows are dated {data['from']} to {data['to']}."] if data.get("from") else []
    if data["left_out"]:
        said.append(f"{data['left_out']:,} old training rows were left out.")
    if data["held_back"]:
        said.append(f"{data['held_back']:,} rows were held back: {', '.join(data['held_back_labels'])}.")
    return [*lines, "", " ".join(said), ""]
