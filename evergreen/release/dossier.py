"""dossier.html: the whole account of a model for the person who answers for it, in one file that asks nothing of the network.

Works on reports alone and draws nothing itself (charts.py does). A report without a figure shows a dash, never a guess.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from jinja2 import ChainableUndefined, ChoiceLoader, Environment, PackageLoader, Undefined
from markupsafe import Markup, escape

from evergreen.release import charts, wording

Report = Mapping[str, Any]
FILTERS: tuple[Callable[..., str], ...] = (
    wording.number,
    wording.percent,
    wording.span,
    wording.point,
    wording.both,
    wording.size,
    wording.duration,
)
PAIRS_SHOWN = 12
GAPS_SHOWN = 8
METRIC_NAMES = {
    "accuracy": "accuracy",
    "selection_rate": "share of texts given the label",
    "true_positive_rate": "share of the label's texts found",
    "false_positive_rate": "share of other texts given the label",
}


class Absent(ChainableUndefined):
    """What a report does not say: a dash on the page."""

    def __str__(self) -> str:
        return wording.ABSENT


def dossier(reports: Mapping[str, Report], *, params: Report, provenance: Report) -> str:
    """Return the page.

    `reports` by name: quality, cleaning, split, training, compression, latency, calibration, evaluation, audit, drift,
    challenge, verdict. Every string in them is escaped. The same arguments give the same bytes.
    """
    evaluation, audit = reports["evaluation"], reports["audit"]
    groupings = [_grouping(found) for found in [*audit["columns"], *audit.get("intersections", [])]]
    views = {
        "summary": wording.without_verdict(reports["verdict"]),
        "rules": [_rule(rule) for rule in reports["verdict"]["rules"]],
        "labels": _labels(reports),
        "label_axis": axis(found["f1"] for found in evaluation["classes"]),
        "headline": _headline(evaluation),
        "pairs": confused_pairs(evaluation["confusion"]),
        "slices": _by_kind(evaluation["slices"]),
        "bout": _bout(reports["challenge"]),
        "groupings": groupings,
        "group_axis": axis(group["accuracy"] for grouping in groupings for group in grouping["groups"]),
        "settings": _settings(params),
    }
    page = environment().get_template("dossier.html.j2")
    return page.render(**reports, **views, params=params, provenance=provenance, plots=_plots(reports)) + "\n"


def environment(*packages: str) -> Environment:
    """Return Jinja with autoescape, our filters, a dash for whatever is absent, and the templates of these packages beside our own."""
    loader = ChoiceLoader([PackageLoader(package) for package in (*packages, "evergreen.release")])
    found = Environment(loader=loader, autoescape=True, undefined=Absent, trim_blocks=True, lstrip_blocks=True)
    found.filters["breakable"] = breakable
    found.filters.update({function.__name__: _on_absent(function) for function in FILTERS})
    found.globals.update(range_style=range_style, METRIC_NAMES=METRIC_NAMES)
    return found


def _on_absent(function: Callable[..., str]) -> Callable[..., str]:
    """Return a filter that takes what is absent for None."""
    return lambda value, *rest: function(None if isinstance(value, Undefined) else value, *rest)


def range_style(figure: Report, low: float, high: float) -> str:
    """Return CSS variables that place an interval object between the ends of an axis: start, width and point in percent."""
    reach = (high - low) or 1.0
    start, end, middle = (min(max((float(figure[key]) - low) / reach, 0.0), 1.0) * 100 for key in ("low", "high", "value"))
    return f"--start:{start:.2f}%;--width:{end - start:.2f}%;--point:{middle:.2f}%"


def breakable(name: str) -> Markup:
    """Return a name that may break after an underscore, a dash or a slash, as labels such as `card_payment_fee` should."""
    return Markup(re.sub(r"(?<=[_/-])(?=\w)", "<wbr>", str(escape(name))))


def axis(figures: Iterable[Report | None]) -> tuple[float, float]:
    """Return the ends of an axis from a round tenth below the lowest interval up to 1."""
    lowest = min((float(figure["low"]) for figure in figures if figure), default=0.0)
    return max(0.0, int(lowest * 10) / 10), 1.0


def confused_pairs(confusion: Report, most: int = PAIRS_SHOWN) -> list[dict[str, Any]]:
    """Return the most frequent confusions: truth, answer, rows, and their share of the truth's rows."""
    labels, counts = confusion["labels"], confusion["counts"]
    found = [
        {"truth": labels[row], "answer": labels[column], "rows": count, "share": count / sum(line)}
        for row, line in enumerate(counts)
        for column, count in enumerate(line)
        if row != column and count
    ]
    return sorted(found, key=lambda pair: (-pair["rows"], -pair["share"], pair["truth"], pair["answer"]))[:most]


def _plots(reports: Mapping[str, Report]) -> dict[str, Any]:
    evaluation, calibration, training = (reports[name] for name in ("evaluation", "calibration", "training"))
    return {
        "training": _curve(training) if training.get("history") else None,
        "confusion": charts.confusion(evaluation["confusion"]["labels"], evaluation["confusion"]["counts"]),
        "reliability": charts.reliability(evaluation["reliability"]),
        "coverage": charts.coverage(calibration["curve"], chosen=calibration, target=calibration["target_accuracy"]),
        "learning": charts.learning(evaluation["learning"]) if evaluation.get("learning") else None,
    }


def _curve(training: Report) -> Any:
    averaged = training["validation_loss"] if training["members"] > 1 else None
    return charts.training_curve(training["history"], training["kept_epochs"], averaged)


def _rule(rule: Report) -> dict[str, Any]:
    digits, unit = (1, f" {rule['unit']}") if rule.get("unit") in {"MB", "ms"} else (3, "")
    interval = rule.get("interval")
    side = "more than" if rule.get("strict") else rule["side"]
    return {
        **rule,
        "shown": wording.number(rule["value"], digits) + unit if rule["value"] is not None else wording.ABSENT,
        "shown_interval": f"{wording.number(interval[0], digits)} to {wording.number(interval[1], digits)}" if interval else wording.ABSENT,
        "shown_bound": f"{side} {rule['bound']:,g}{unit}" if rule["bound"] is not None else wording.ABSENT,
    }


def _labels(reports: Mapping[str, Report]) -> list[dict[str, Any]]:
    """Return each label with its rows in every split and its figures on test, in label order."""
    splits = reports["split"]["splits"]
    figures = {found["label"]: found for found in reports["evaluation"]["classes"]}
    names = sorted({*figures, *(label for part in splits.values() for label in part["labels"])})
    rows = {name: {split: part["labels"].get(name, 0) for split, part in splits.items()} for name in names}
    return [{"label": name, "rows": rows[name], "total": sum(rows[name].values()), **_figures(figures.get(name))} for name in names]


def _figures(found: Report | None) -> dict[str, Any]:
    return {"test_rows": (found or {}).get("rows", 0), **{name: (found or {}).get(name) for name in ("precision", "recall", "f1")}}


def _headline(evaluation: Report) -> dict[str, Any]:
    """Return model and baseline side by side with a common axis, and the lead with an axis about 0."""
    metrics = evaluation["metrics"]
    rows = [
        {"metric": title, "who": who, "figure": source[name], "ours": who == "this model"}
        for name, title in (("accuracy", "Accuracy"), ("macro_f1", "Macro F1"))
        for who, source in (("this model", metrics), ("simple baseline", metrics["baseline"]))
    ]
    leads = [{"metric": title, "figure": metrics["lead"][name]} for name, title in (("accuracy", "Accuracy"), ("macro_f1", "Macro F1"))]
    return {"rows": rows, "axis": axis(row["figure"] for row in rows), "leads": leads, "reach": _reach(lead["figure"] for lead in leads)}


def _reach(differences: Iterable[Report | None]) -> float:
    """Return how far an axis about 0 reaches to either side: a round twentieth beyond every interval."""
    farthest = max((abs(float(found[end])) for found in differences if found for end in ("low", "high")), default=0.0)
    return max(0.05, int(farthest * 20 + 1) / 20)


def _bout(challenge: Report) -> dict[str, Any]:
    """Return the comparison with the champion: its parts that have rows, and its slices by kind, each with an axis about 0."""
    parts = [{"name": name, **challenge[name]} for name in ("new", "old", "all") if challenge.get(name)]
    if len(parts) == 2:  # without old rows, the new ones are all
        parts = parts[1:]
        parts[0]["power"] = challenge["new"]["power"]
    slices = challenge.get("slices") or []
    reaches = {"reach": _reach(part["difference"] for part in parts), "slice_reach": _reach(part["difference"] for part in slices)}
    return {"parts": parts, "kinds": _kinds(slices), **reaches}


def _by_kind(slices: Sequence[Report]) -> dict[str, Any]:
    """Return slices by what they slice, in their order, with one axis for all."""
    return {"kinds": _kinds(slices), "axis": axis(found["accuracy"] for found in slices)}


def _kinds(slices: Sequence[Report]) -> dict[str, list[Report]]:
    kinds: dict[str, list[Report]] = {}
    for found in slices:
        kinds.setdefault(found["by"], []).append(found)
    return kinds


def _grouping(found: Report) -> dict[str, Any]:
    """Return a group column with its gap in accuracy, and the widest gaps of its other rates."""
    others = sorted(
        (gap for gap in found["gaps"] if gap["metric"] != "accuracy" and gap["difference"]), key=lambda gap: -gap["difference"]["value"]
    )
    accuracy = next((gap for gap in found["gaps"] if gap["metric"] == "accuracy"), None)
    return {**found, "accuracy_gap": accuracy, "widest": others[:GAPS_SHOWN]}


def _settings(params: Report, place: str = "") -> list[tuple[str, str]]:
    """Return every parameter as (place, value), `finetune.epochs`."""
    rows: list[tuple[str, str]] = []
    for name, value in params.items():
        here = f"{place}.{name}" if place else str(name)
        rows += _settings(value, here) if isinstance(value, Mapping) and value else [(here, wording.plain(value))]
    return rows
