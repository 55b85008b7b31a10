"""Rules and reports for the tests of the gate: a model that keeps every rule, to be spoilt one figure at a time."""

import copy
from pathlib import Path
from typing import Any

from evergreen.reports import write_report
from evergreen.sections.gate import Rules

RULES: dict[str, Any] = {
    "beats_baseline": {"min_lead": 0.0, "failure": "reject"},
    "macro_f1": {"min_value": 0.75, "failure": "reject"},
    "worst_group": {"min_value": 0.70, "failure": "hold"},
    "fairness_gap": {"max_upper": 0.20, "failure": "hold"},
    "calibration": {"max_value": 0.10, "failure": "hold"},
    "parity": {"min_agreement": 0.98, "failure": "reject"},
    "artifact_size": {"max_megabytes": 500, "failure": "hold"},
    "latency": {"max_p95_milliseconds": 250, "failure": "hold"},
    "no_worse": {"max_loss": 0.02, "failure": "hold"},
    "remembers": {"max_loss": 0.03, "failure": "hold"},
    "negative_flips": {"max_share": 0.06, "failure": "hold"},
    "no_slice_worse": {"max_loss": 0.05, "failure": "hold"},
}


def rules(**changes: Any) -> Rules:
    """Return the gate's rules; `rules(artifact_size=None)` switches one off."""
    return Rules.model_validate(RULES | changes)


def measured(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


def good_reports() -> dict[str, dict[str, Any]]:
    """Return the reports of a model that keeps every rule of RULES."""
    return {
        "metrics": {
            "rows": 375,
            "macro_f1": measured(0.86, 0.82, 0.89),
            "ece": measured(0.03, 0.02, 0.06),
            "lead": {"macro_f1": measured(0.05, 0.02, 0.08)},
        },
        "audit": {
            "worst_group": {"column": "first_language", "group": "other", "rows": 90, "accuracy": measured(0.82, 0.74, 0.89)},
            "largest_gap": {"column": "first_language", "lowest": "other", "highest": "english", "difference": measured(0.06, 0.0, 0.15)},
            "reason": None,
        },
        "compression": {"bytes": 91_000_000, "label_agreement": 1.0},
        "latency": {"p95_milliseconds": 12.5},
        "challenge": {
            "champion": {"version": "v1.0.0", "model_version": "fedcba987654"},
            "new": {"difference": measured(0.05, 0.01, 0.09), "power": {"words": "With 300 new rows a true tie passes in 24% of cases."}},
            "old": {"difference": measured(0.01, -0.01, 0.03), "power": None},
            "all": {"negative_flips": measured(0.03, 0.01, 0.05)},
            "worst_slice": {"by": "length", "slice": "under 10 words", "difference": measured(-0.02, -0.08, 0.04)},
        },
    }


def spoilt(place: str, value: Any) -> dict[str, dict[str, Any]]:
    """Return the good reports with one figure replaced: `spoilt("metrics.ece.value", 0.3)`."""
    reports = copy.deepcopy(good_reports())
    *path, last = place.split(".")
    found: Any = reports
    for key in path:
        found = found[key]
    found[last] = value
    return reports


def first_version() -> dict[str, dict[str, Any]]:
    """Return the good reports of a model that has no champion before it."""
    return good_reports() | {"challenge": {"champion": None, "reason": "there is no champion to compare with"}}


def write_reports(folder: Path, reports: dict[str, dict[str, Any]]) -> dict[str, Path]:
    """Write each report as `<name>.json` into the folder; return the paths by name."""
    paths = {name: folder / f"{name}.json" for name in reports}
    for name, content in reports.items():
        write_report(content, paths[name])
    return paths
