"""From reports to one verdict: PROMOTE, HOLD or REJECT, with a sentence for each rule that a product owner understands.

Bounds and failures are given (params.yaml, section `gate`); rules.py says where each rule finds its figure. Evidence that
is absent, null, not a number or out of its range fails closed: the rule counts as failed. Only where there is no champion, or no
old test row, is what compares with it off. Knows nothing of files, stages or how a verdict is shown.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evergreen.errors import EvidenceError
from evergreen.evaluation.rules import CHECKS, Check
from evergreen.sections.gate import Rules

Report = Mapping[str, Any]
NO_CHAMPION: Report = {"champion": None, "reason": "there is no champion to compare with"}
_NO_EVIDENCE = {"fail": "", "missing": " (no evidence)"}


@dataclass(frozen=True)
class Figure:
    """A measured value, and its interval where the report gives one."""

    value: float
    low: float | None = None
    high: float | None = None


def judge(
    *,
    rules: Rules,
    metrics: Report,
    audit: Report,
    compression: Report,
    latency: Report,
    challenge: Report = NO_CHAMPION,
    model_version: str | None = None,
) -> dict[str, Any]:
    """Return the verdict on a model.

    REJECT where a rule whose failure is `reject` fails or lacks its evidence; else HOLD where one whose failure is `hold`
    does, or where no rule is on; else PROMOTE. The result holds `verdict`, `model_version`, `summary` (one sentence) and
    `rules`, each with `rule`, `title`, `value`, `interval`, `bound`, `side` (at least, at most), `strict` (the bound itself
    fails), `unit`, `outcome` (pass, fail, missing, off), `failure` (hold, reject; null for a rule that is off) and `because`.
    A comparison with the champion that is too small to tell either way is a hold at most, whatever `failure` says.
    """
    reports = {"metrics": metrics, "audit": audit, "compression": compression, "latency": latency, "challenge": challenge}
    judged = [_apply(check, getattr(rules, check.rule), reports) for check in CHECKS]
    verdict = _verdict(judged)
    return {
        "verdict": verdict,
        "model_version": model_version,
        "summary": _summary(verdict, judged) + _doubt(judged, challenge),
        "rules": judged,
    }


def _verdict(judged: list[dict[str, Any]]) -> str:
    failures = {rule["failure"] for rule in judged if rule["outcome"] in {"fail", "missing"}}
    if "reject" in failures:
        return "REJECT"
    return "HOLD" if failures or all(rule["outcome"] == "off" for rule in judged) else "PROMOTE"


def _summary(verdict: str, judged: list[dict[str, Any]]) -> str:
    on = [rule for rule in judged if rule["outcome"] != "off"]
    if not on:
        return "HOLD: every rule of the gate is switched off, so nothing speaks for this model."
    broken = [rule["title"][:1].lower() + rule["title"][1:] + _NO_EVIDENCE[rule["outcome"]] for rule in on if rule["outcome"] != "pass"]
    if not broken:
        return f"PROMOTE: the model keeps {'the one rule that is' if len(on) == 1 else f'all {len(on)} rules that are'} on."
    return f"{verdict}: {len(broken)} of {len(on)} rules {'is' if len(broken) == 1 else 'are'} not kept: {', '.join(broken)}."


def _apply(check: Check, setting: Any, reports: Mapping[str, Report]) -> dict[str, Any]:
    """Return one rule's entry of the verdict."""
    entry: dict[str, Any] = {"rule": check.rule, "title": check.title, "value": None, "interval": None, "bound": None}
    entry |= {"side": check.side, "strict": check.strict, "unit": check.unit, "outcome": "off", "failure": None}
    if setting is None:
        return entry | {"because": f"Switched off: gate.rules.{check.rule} is null in params.yaml, so this was not judged."}
    if nothing := _nothing_to_compare(check, reports):
        return entry | {"because": nothing}
    bound = float(getattr(setting, check.bound)) * (-1 if check.loss else 1)
    entry |= {"bound": bound, "failure": setting.failure}
    try:
        figure = _figure(check, reports)
    except EvidenceError as fault:
        because = f"No evidence, which counts as a failure: {fault}. To go on, {check.remedy}; gate.rules.{check.rule}: null does without."
        return entry | {"outcome": "missing", "because": because}
    kept = _kept(check, figure, bound)
    interval = None if figure.low is None else [figure.low, figure.high]
    because = _because(check, figure, bound, kept) + _who(check, reports)
    if not kept and check.cautious and figure.high is not None and figure.high >= bound:
        entry["failure"] = "hold"
        because += " The interval reaches across the bound, so that nothing is known either way: a hold."
    because += _power(check, reports)
    return entry | {"value": figure.value, "interval": interval, "outcome": "pass" if kept else "fail", "because": because}


def _nothing_to_compare(check: Check, reports: Mapping[str, Report]) -> str | None:
    """Return why a comparison was not made, where that is as it should be; a report that does not say so is no evidence."""
    found = reports[check.place[0]]
    if check.place[0] != "challenge" or not isinstance(found, Mapping) or "champion" not in found:
        return None
    if found["champion"] is None:
        return f"Not judged: {found.get('reason') or 'there is no champion to compare with'}."
    if check.rule == "remembers" and "old" in found and found["old"] is None:
        return "Not judged: no test row is older than the champion."
    return None


def _power(check: Check, reports: Mapping[str, Report]) -> str:
    """Return what a comparison with so many rows can tell, where its report says so."""
    report = reports[check.place[0]]
    part = report.get(check.place[1]) if check.cautious and isinstance(report, Mapping) else None
    said = part.get("power") if isinstance(part, Mapping) else None
    return f" {said['words']}" if isinstance(said, Mapping) and said.get("words") else ""


def _doubt(judged: list[dict[str, Any]], challenge: Report) -> str:
    """Return the power of a comparison that was not passed: whoever reads HOLD must know whether anybody could have passed."""
    failed = {rule["rule"] for rule in judged if rule["outcome"] == "fail"}
    return next((_power(check, {"challenge": challenge}) for check in CHECKS if check.cautious and check.rule in failed), "")


def _kept(check: Check, figure: Figure, bound: float) -> bool:
    judged: float = getattr(figure, check.judges)
    if check.strict and judged == bound:
        return False
    return judged >= bound if check.side == "at least" else judged <= bound


def _figure(check: Check, reports: Mapping[str, Report]) -> Figure:
    """Return a rule's figure in the rule's unit; raise EvidenceError saying what is wrong with the evidence."""
    found = _find(check.place, reports)
    name = ".".join(check.place)
    if not isinstance(found, Mapping):
        if check.judges != "value":
            raise EvidenceError(f"{name} has no interval, and this rule judges the interval")
        return Figure(_number(check, found, name))
    value, low, high = (_number(check, found.get(end), f"{name}.{end}") for end in ("value", "low", "high"))
    if low > high:
        raise EvidenceError(f"the interval of {name} runs from {low:g} down to {high:g}")
    return Figure(value, low, high)


def _find(place: tuple[str, ...], reports: Mapping[str, Report]) -> Any:
    """Follow a place through the reports; a report that has nothing there may say why in its `reason`."""
    found: Any = reports
    for depth, key in enumerate(place, start=1):
        if not isinstance(found, Mapping):
            raise EvidenceError(f"{'.'.join(place[: depth - 1])} is {found!r:.40}, not an object")
        if found.get(key) is None:
            raise EvidenceError(str(found.get("reason") or f"{'.'.join(place[:depth])} is absent"))
        found = found[key]
    return found


def _number(check: Check, found: Any, name: str) -> float:
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        raise EvidenceError(f"{name} is {'absent' if found is None else f'{found!r:.40}, not a number'}")
    if not check.least <= found <= check.most:
        raise EvidenceError(f"{name} is {found:g}, which it cannot be (it lies between {check.least:g} and {check.most:g})")
    return float(found) * check.scale


def _because(check: Check, figure: Figure, bound: float, kept: bool) -> str:
    """Return the sentence of a rule that has its evidence."""
    said = f"{check.subject[0].upper()}{check.subject[1:]} is {_show(figure.value, check.unit)}"
    if figure.low is not None and figure.high is not None:
        said += f" (interval {_show(figure.low)} to {_show(figure.high)})"
    judged = {"value": "it", "low": "the interval's lower end", "high": "the interval's upper end"}[check.judges]
    asked = f"{'more than' if check.strict else check.side} {_show(bound, check.unit)}"
    said += f"; {judged} must be {asked}, and {'is' if kept else 'is not'}."
    if check.rule == "beats_baseline" and figure.low is not None and figure.high is not None:
        said += f" With this many test rows a lead is known to within {(figure.high - figure.low) / 2:.3f} either way."
    return said


def _who(check: Check, reports: Mapping[str, Report]) -> str:
    """Return which groups or slice a figure speaks of."""
    found = reports.get(check.place[0], {}).get(check.place[1], {}) if check.place[0] in {"audit", "challenge"} else {}
    if isinstance(found.get("slice"), str):
        return f" Of {found.get('by')}: {found['slice']}."
    names = [str(found[key]) for key in ("group", "lowest", "highest") if isinstance(found.get(key), str)]
    return f" Of {found.get('column', 'the groups')}: {' against '.join(names)}." if names else ""


def _show(value: float, unit: str = "") -> str:
    """Return a number as a person reads it: three decimals for shares, one for megabytes and milliseconds."""
    return f"{value:,.1f} {unit}" if unit in {"MB", "ms"} else f"{value:z.3f}"
