"""The reference that drift is measured against, the first measurement (test against train), and Evidently's page of both."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from evergreen.config import Params
from evergreen.data.records import context_columns, group_columns, group_name, read_table, write_table
from evergreen.drift.battery import FITTED_DESCRIPTORS, Rows, compare
from evergreen.drift.descriptors import describe, vocabulary
from evergreen.drift.reference import reference_summary, reference_table, sample
from evergreen.errors import EvidenceError
from evergreen.evaluation.evidently_report import evidently_page
from evergreen.model.inference import Classifier, softmax
from evergreen.reports import read_report, write_report
from stages._run import main, say


def snapshot(params: Params, inputs: SimpleNamespace, outputs: SimpleNamespace) -> None:
    """Keep the reference; test the test rows against train and held-out rows; draw the page."""
    knobs = params.snapshot
    classifier = Classifier.load(inputs.artifact, inputs.calibration)
    tables = {name: read_table(inputs.splits / f"{name}.parquet") for name in ("train", "validation", "calibration")}
    known = vocabulary(tables["train"]["text"].tolist())
    heldout = pd.concat([tables["validation"], tables["calibration"]], ignore_index=True)
    predictions = _predictions(inputs, classifier)
    current, train, held = (sample(table, knobs.max_rows, knobs.seed) for table in (predictions, tables["train"], heldout))
    seen = {name: _observe(table, known, classifier) for name, table in (("current", current), ("train", train), ("heldout", held))}

    _keep(current, seen["current"], known, classifier, outputs)
    drift = compare(**seen, labels=classifier.labels, level=knobs.alarm_level, seed=knobs.seed)
    write_report(drift, outputs.drift)
    _say_drift(drift)
    pages = [_page_columns(table, seen[name], classifier) for name, table in (("current", current), ("train", train))]
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


def _observe(table: pd.DataFrame, known: list[str], classifier: Classifier) -> Rows:
    texts = table["text"].tolist()
    scores = classifier.scores(texts)
    probabilities = softmax(scores.logits, classifier.calibration.temperature)
    return Rows.of(table, describe(texts, known), probabilities=probabilities, embeddings=scores.embeddings)


def _keep(current: pd.DataFrame, seen: Rows, known: list[str], classifier: Classifier, outputs: SimpleNamespace) -> None:
    """Write the folder of the reference: the rows, their summary, and the vocabulary that the descriptors know."""
    embeddings = seen.embeddings if seen.embeddings is not None else np.empty((len(current), 0))
    table = reference_table(current, seen.descriptors, embeddings)
    summary = reference_summary(table, list(seen.descriptors), labels=classifier.labels, model_version=classifier.version)
    outputs.reference.mkdir()
    write_table(table, outputs.reference / "reference.parquet")
    write_report(summary, outputs.reference / "reference.json")
    (outputs.reference / "vocabulary.txt").write_text("\n".join([*known, ""]), encoding="utf-8")
    say(
        f"reference: {len(table):,} test rows, {len(summary['descriptors'])} descriptors, embeddings of {summary['embedding_size']} numbers"
    )


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
