"""Whether a window of traffic comes from where the reference came from: one verdict for all detectors and all windows of a year.

The chance of a false alarm is spent evenly: each of `windows` windows may alarm with a chance of `false_alarms / windows`, so that by the
union bound the chance of any alarm in that many quiet windows is at most `false_alarms`, however the windows hang together through the
reference they share (docs/decisions/drift-alarms.md). Half of a window's chance goes to the window itself, half to the newest windows
taken together, for drift that comes too slowly for a single one. Knows nothing of files, of the request log, nor of what anyone does
about an alarm.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evergreen.data.records import CONTEXT_PREFIX, MISSING_GROUP, group_name
from evergreen.drift.calibration import MIN_ROWS
from evergreen.drift.features import Detector, Recipe
from evergreen.drift.permutation import Comparison, judged
from evergreen.drift.reference import Reference
from evergreen.drift.repeats import unrepeated
from evergreen.drift.rows import Seen, pool
from evergreen.drift.told import METHOD, SHARE, compare_told, partly
from evergreen.sections.loop import Monitor

FIRST_LOOK = 0.05  # calibrated p-value of the first look, above which a window is quiet without permutations
WORTH_A_NOTE = 0.2  # p-value of a test, adjusted, above which it needs no words
EARLIER_SHARE = 0.5  # of a window's level, spent on the newest windows taken together


@dataclass(frozen=True)
class _Look:
    """One comparison with the reference: `share` of the level is its own."""

    scale: str
    rows: Seen
    share: float


def judge(reference: Reference, window: Seen, *, number: int, settings: Monitor, earlier: Sequence[Seen] = ()) -> dict[str, Any]:
    """Return `facts["drift"]` of the `number`-th window (1 is the first) of a model version.

    `earlier` holds the windows just before this one, the newest last; the newest `settings.pooled - 1` are taken. `p_value` is that of
    the whole window, adjusted for all detectors and both looks, and alarms at or below `level`; the `p_value` of each test is adjusted
    in the same way. A look at fewer than MIN_ROWS rows is left out, its share of the level stays unspent, and `note` says so; where
    no look is left nothing is known, and `p_value` is None. The same arguments give the same facts.
    """
    level = settings.false_alarms / settings.windows
    facts: dict[str, Any] = {"alarm": False, "level": level, "p_value": None, "rows": len(window), "permutations": 0, "tests": []}
    newest = list(earlier)[-(settings.pooled - 1) :] if settings.pooled > 1 else []
    before = [rows for rows in newest if len(rows)]  # of a window whose rows the request log no longer has, nothing is left to see
    known, (*before, window) = unrepeated(reference.rows, [*before, window])
    possible = [look for look in _looks(window, before) if min(len(look.rows), len(known)) >= MIN_ROWS]
    few = f"too few rows to test ({len(window)} that repeat no text against {len(known)}; at least {MIN_ROWS} are needed)"
    if not possible:
        return {**facts, "note": few}
    looks = [_look(reference, known, look, number, level, settings) for look in possible]
    p_value = min(found["p_value"] for found in looks)
    return {
        **facts,
        "alarm": p_value <= level,
        "p_value": p_value,
        "permutations": sum(found["permutations"] for found in looks),
        "tests": [test for found in looks for test in found["tests"]],
        "note": None if possible[0].scale == "window" else f"the window alone has {few}",
    }


def _looks(window: Seen, before: Sequence[Seen]) -> list[_Look]:
    if not before:
        return [_Look("window", window, 1.0)]
    together = pool([rows for rows in (*before, window) if len(rows)] or [window])
    return [_Look("window", window, 1 - EARLIER_SHARE), _Look(f"last {len(before) + 1} windows", together, EARLIER_SHARE)]


def _look(reference: Reference, known: Seen, look: _Look, number: int, level: float, settings: Monitor) -> dict[str, Any]:
    """Compare one set of rows with the reference: at first quickly, and by permutations where that finds anything of note."""
    rows = _at_most(look.rows, settings.max_rows, [settings.seed, number])
    lacking = partly(known, rows)
    share = look.share * (1 - SHARE) if lacking else look.share
    before, now = known.without(lacking), rows.without(lacking)
    first = reference.first_look(len(now), tuple(lacking), settings.seed)
    statistics, analytic = first.at(now)
    calibrated = [reference.calibration.p_value(float(value), len(now)) for value in analytic]
    adjusted = np.array([value if value is not None else 0.0 for value in calibrated])
    p_value, drawn, detectors = float(adjusted.min()), 0, first.detectors
    if p_value <= FIRST_LOOK:
        together = pool([before, now])
        recipe = Recipe(together, min(len(before), len(now)), reference.labels, settings.seed)
        random = np.random.default_rng([settings.seed, number, len(now)])
        compared = Comparison(recipe.matrix(together), recipe.detectors, len(now))
        result = judged(compared, level=level * share, least=settings.permutations, random=random)
        p_value, statistics, adjusted, drawn = result.p_value, result.statistics_D, result.adjusted_D, result.drawn
        detectors = recipe.detectors
    tests = [{**test, "p_value": test["p_value"] / share} for test in _told(detectors, statistics, adjusted, before, now, reference.labels)]
    apart = [_apart(known, rows, name, level, look.share * SHARE / len(lacking), number, settings) for name in lacking]
    tests += [test for test, _ in apart]
    p_value = min([p_value / share, *(test["p_value"] for test, _ in apart if test["p_value"] is not None)])
    return {
        "p_value": min(1.0, p_value),
        "permutations": drawn + sum(more for _, more in apart),
        "tests": [{"scale": look.scale, **test, **_verdict(test["p_value"], level)} for test in tests],
    }


def _verdict(p_value: float | None, level: float) -> dict[str, Any]:
    return {"p_value": None, "alarm": False} if p_value is None else {"p_value": min(1.0, p_value), "alarm": p_value <= level}


def _apart(before: Seen, now: Seen, column: str, level: float, share: float, number: int, settings: Monitor) -> tuple[dict[str, Any], int]:
    """Return the test of a column that some rows lack, for the facts, and the permutations that it took."""
    random = np.random.default_rng([settings.seed, number, len(now), *column.encode()])
    found = compare_told(column, before, now, level=level * share, least=settings.permutations, random=random)
    p_value = None if found.p_value is None else found.p_value / share
    changed = ""
    if p_value is not None and p_value <= WORTH_A_NOTE:
        told = [values[values != MISSING_GROUP] for values in (before.categories[column], now.categories[column])]
        changed = f"{_shares(*told)}; "
    kind = "context" if column.startswith(CONTEXT_PREFIX) else "group"
    test = {"name": group_name(column), "kind": kind, "method": METHOD, "statistic": found.statistic, "p_value": p_value}
    return {**test, "note": changed + found.note}, found.drawn


def _told(
    detectors: Sequence[Detector], statistics: NDArray[Any], adjusted: NDArray[Any], before: Seen, now: Seen, labels: Sequence[str]
) -> list[dict[str, Any]]:
    """Return each test for the facts; of the outputs, one detector per label, only the label that changed most."""
    best: dict[str, int] = {}
    for place, detector in enumerate(detectors):
        key = f"{detector.kind} {detector.name}"
        if key not in best or (adjusted[place], -statistics[place]) < (adjusted[best[key]], -statistics[best[key]]):
            best[key] = place
    factor = len(before) * len(now) / (len(before) + len(now))
    return [
        {
            "name": detectors[place].name,
            "kind": detectors[place].kind,
            "method": detectors[place].method,
            "statistic": float(statistics[place]) * (1.0 if "MMD" in detectors[place].method else factor),
            "p_value": float(adjusted[place]),
            "note": _note(detectors[place], before, now, labels) if adjusted[place] <= WORTH_A_NOTE else None,
        }
        for place in best.values()
    ]


def _note(detector: Detector, before: Seen, now: Seen, labels: Sequence[str]) -> str | None:
    """Say in words what changed."""
    if detector.kind == "descriptor":
        return _means(before.descriptors[detector.name].to_numpy(), now.descriptors[detector.name].to_numpy())
    if detector.kind == "confidence":
        return _means(before.probabilities.max(axis=1), now.probabilities.max(axis=1))
    if detector.kind == "outputs":
        place = list(labels).index(str(detector.label))
        return f"most: {detector.label}, {_means(before.probabilities[:, place], now.probabilities[:, place])}"
    if detector.kind == "prediction":
        names = np.array(list(labels), dtype=object)
        return _shares(names[before.probabilities.argmax(axis=1)], names[now.probabilities.argmax(axis=1)])
    if detector.kind in ("group", "context"):
        column = f"{detector.kind}_{detector.name}"
        return _shares(before.categories[column], now.categories[column])
    return None


def _means(before: NDArray[Any], now: NDArray[Any]) -> str:
    return f"on average {before.mean():.3g} before, {now.mean():.3g} now"


def _shares(before: NDArray[Any], now: NDArray[Any]) -> str:
    first, second = Counter(map(str, before)), Counter(map(str, now))
    gaps = {name: second[name] / len(now) - first[name] / len(before) for name in sorted({*first, *second})}
    most = max(gaps, key=lambda name: abs(gaps[name]))
    return f"most: {most}, {first[most] / len(before):.1%} before, {second[most] / len(now):.1%} now"


def _at_most(rows: Seen, most: int, seed: list[int]) -> Seen:
    if len(rows) <= most:
        return rows
    return rows.take(np.sort(np.random.default_rng(seed).choice(len(rows), size=most, replace=False)))
