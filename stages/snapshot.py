"""The reference that drift is measured against, the first measurement (test against train), and Evidently's page of both."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from evergreen.config import Params
from evergreen.data.records import context_columns, group_columns, group_name, read_table
from evergreen.drift.battery import FITTED_DESCRIPTORS, Rows, compare
from evergreen.drift.calibration import calibrate
from evergreen.drift.reference import keep, reference_summary, reference_table, sample
from evergreen.drift.rows import Seen, Vocabulary, look
from evergreen.drift.words import counts
from evergreen.errors import EvidenceError
from evergreen.evaluation.challenge import is_new
from evergreen.evaluation.evidently_report import evidently_page
from evergreen.model.inference import Classifier
from evergreen.reports import read_report, write_report
from stages._run import main, say

ENOUGH_NEW = 100  # test rows since challenge.since, from which on they alone are the reference


def snapshot(params: Params, inputs: SimpleNamespace, outputs: SimpleNamespace) -> None:
    """Keep the reference; test the test rows against train and held-out rows; draw the page."""
    knobs = params.snapshot
    classifier = Classifier.load(inputs.artifact, inputs.calibration)
    tables = {name: read_table(inputs.splits / f"{name}.parquet") for name in ("train", "validation", "calibration")}
    texts = tables["train"]["text"].tolist()
    known = Vocabulary(counts(texts), len(texts))
    heldout = pd.concat([tables["validation"], tables["calibration"]], ignore_index=True)
    predictions = _predictions(inputs, classifier)
    tables = {"current": predictions, "train": tables["train"], "heldout": heldout}
    ages = {"trained_until": _newest(tables["train"])}
    tables = {name: sample(table, knobs.max_rows, knobs.seed) for name, table in tables.items()}
    seen = {name: look(table, classifier, known, _categories(table)) for name, table in tables.items()}

    newest = predictions[is_new(predictions, params.challenge.since)]
    if len(newest) >= ENOUGH_NEW:  # after a retraining: last year's world is no news
        newest = sample(newest, knobs.max_rows, knobs.seed)
        _keep(newest, look(newest, classifier, known, _categories(newest)), known, classifier, knobs.seed, ages, outputs)
    else:
        _keep(tables["current"], seen["current"], known, classifier, knobs.seed, ages, outputs)
    rows = {name: _rows(table, seen[name]) for name, table in tables.items()}
    drift = compare(**rows, labels=classifier.labels, level=knobs.alarm_level, seed=knobs.seed)
    write_report(drift, outputs.drift)
    _say_drift(drift)
    pages = [_page_columns(tables[name], rows[name], classifier) for name in ("current", "train")]
    html = evidently_page(*pages, audit=read_report(inputs.audit), drift=drift)
    outputs.page.write_text(html, encoding="utf-8")
    say(f"page: {len(html) / 1e6:.1f} MB, opens without a network")


def _predictions(inputs: SimpleNamespace, classifier: Classifier) -> pd.DataFrame:
    """Read the test rows and their predictions; refuse those of another model."""
    predictions = read_table(inputs.predictions)
    made_by = set(predictions["model_version"])
    if made_by != {classifier.version}:
        raise EvidenceError(f"{inputs.predictions} was made by model {sorted(made_by)}, not {classifier.version}; run `dvc repro evaluate`")
    return predictions


def _categories(table: pd.DataFrame) -> list[str]:
    return [*group_columns(table), *context_columns(table)]


def _rows(table: pd.DataFrame, seen: Seen) -> Rows:
    return Rows.of(table, seen.descriptors, probabilities=seen.probabilities, embeddings=seen.embeddings)


def _newest(table: pd.DataFrame) -> float | None:
    """Return when the newest row was written, in seconds since 1970; None where rows have no time."""
    return float(table["timestamp"].max().timestamp()) if "timestamp" in table.columns and table["timestamp"].notna().any() else None


def _keep(
    chosen: pd.DataFrame,
    seen: Seen,
    known: Vocabulary,
    classifier: Classifier,
    seed: int,
    ages: dict[str, float | None],
    outputs: SimpleNamespace,
) -> None:
    """Write the reference, and calibrate the detectors on it."""
    texts = chosen["text"].tolist()
    table = reference_table(chosen, seen)
    summary = {
        **reference_summary(table, list(seen.descriptors.columns), labels=classifier.labels, model_version=classifier.version),
        **ages,
    }
    calibration = calibrate(seen, classifier.labels, seed)
    keep(outputs.reference, table, summary, known, Vocabulary(counts(texts), len(texts)), calibration)
    say(
        f"reference: {len(table):,} test rows, {len(summary['descriptors'])} descriptors, embeddings of {summary['embedding_size']} numbers"
    )
    sizes = [f"{size['equivalent_tests']:g} for windows of {size['rows']:,}" for size in calibration.told()["sizes"]]
    say(f"the {calibration.detectors} detectors count for as many independent tests as: {', '.join(sizes) or 'unknown, too few rows'}")


def _page_columns(table: pd.DataFrame, seen: Rows, classifier: Classifier) -> pd.DataFrame:
    """Return what Evidently compares with train: labels, predictions, groups, context, and the descriptors that train does not bias."""
    predicted = np.array(classifier.labels, dtype=object)[np.asarray(seen.probabilities).argmax(axis=1)]
    groups = {f"group {group_name(column)}": table[column] for column in group_columns(table)}
    context = {f"context {group_name(column)}": table[column] for column in context_columns(table)}
    descriptors = seen.descriptors.drop(columns=list(FITTED_DESCRIPTORS))
    return pd.concat([pd.DataFrame({"label": table["label"], "prediction": predicted, **groups, **context}), descriptors], axis=1)


def _say_drift(drift: dict[str, Any]) -> None:
    say(f"drift of test: {drift['drifted']} of {len(drift['tests'])} tests alarm (level {drift['level']:g}, Bonferroni)")
    for test in drift["tests"]:
        if test["drifted"]:
            say(f"- {test['kind']} {test['name']} against {test['reference']}: p = {test['p_value']:.2g}; {test['note']}")


if __name__ == "__main__":
    main(snapshot)
