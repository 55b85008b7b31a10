"""evaluate: the shipping artifact on the test split -> metrics with intervals, slices, baseline, plots."""

from types import SimpleNamespace
from typing import Any

import pandas as pd

from evergreen.config import Params
from evergreen.data.records import read_table, write_table
from evergreen.evaluation import scorecard
from evergreen.evaluation.baseline import learning_curve
from evergreen.evaluation.intervals import cluster_codes, shown
from evergreen.evaluation.metrics import label_codes
from evergreen.evaluation.slices import slices_of
from evergreen.model.inference import Classifier
from evergreen.reports import write_report
from stages._run import main, say


def evaluate(params: Params, inputs: SimpleNamespace, outputs: SimpleNamespace) -> None:
    """Judge what ships, on rows that nothing else has touched."""
    knobs, bins = params.evaluate, params.calibrate.bins
    train, test = (read_table(inputs.splits / f"{name}.parquet") for name in ("train", "test"))
    classifier = Classifier.load(inputs.artifact, inputs.calibration)
    answers, curve = _answers(classifier, train, test, c=knobs.baseline_c, seed=knobs.seed)
    slices = slices_of(test, length_bins=knobs.length_bins)
    result = scorecard.scored(
        answers,
        slices,
        bins=bins,
        resamples=knobs.resamples,
        level=knobs.level,
        seed=knobs.seed,
        clusters=cluster_codes(test["customer"].tolist()) if "customer" in test.columns else None,
    )
    metrics = scorecard.headline(result, rows=len(test))
    report = {
        "rows": len(test),
        "labels": list(answers.labels),
        "level": knobs.level,
        "resamples": knobs.resamples,
        "drawn": "customers" if "customer" in test.columns else "rows",
        "model_version": classifier.version,
        "metrics": metrics,
        "classes": scorecard.class_table(answers, result),
        "slices": scorecard.slice_table(slices, result, min_rows=knobs.min_slice_rows),
        "confusion": scorecard.confusion(answers),
        "reliability": scorecard.reliability_table(answers, result, bins=bins),
        "learning": curve,
        "doubling": scorecard.doubling(result),
    }
    write_report(metrics, outputs.metrics)
    write_report(report, outputs.report)
    predictions = scorecard.predictions(test, answers, version=classifier.version)
    write_table(predictions, outputs.predictions)
    _write_plots(predictions, report, outputs)
    _account(report)


def _answers(
    classifier: Classifier, train: pd.DataFrame, test: pd.DataFrame, *, c: float, seed: int
) -> tuple[scorecard.Answers, list[dict[str, Any]]]:
    """Return the answers of the model and of the baseline on test, and the baseline's learning curve."""
    probabilities = classifier.probabilities(test["text"].tolist())
    labels = classifier.labels  # all that the rows have: split refuses a label that train lacks
    actual = label_codes(test["label"].tolist(), labels)
    curve = [(rows, label_codes(found.tolist(), labels)) for rows, found in learning_curve(train, test["text"], c=c, seed=seed)]
    answers = scorecard.Answers(
        labels=labels,
        actual=actual,
        predicted=probabilities.argmax(axis=1),
        probabilities=probabilities,
        baseline=curve[-1][1],
        half_baseline=curve[-2][1],
        threshold=classifier.calibration.threshold,
    )
    return answers, [{"train_rows": rows, **scorecard.plain(actual, found, classes=len(labels))} for rows, found in curve]


def _write_plots(predictions: pd.DataFrame, report: dict[str, Any], outputs: SimpleNamespace) -> None:
    """Write what `dvc plots` draws."""
    pairs = predictions[["label", "prediction"]].set_axis(["actual", "predicted"], axis=1)
    pairs.to_csv(outputs.confusion, index=False)
    bins = [{"confidence": row["confidence"], "accuracy": row["accuracy"]["value"], "rows": row["rows"]} for row in report["reliability"]]
    pd.DataFrame(bins).to_csv(outputs.reliability, index=False)
    pd.DataFrame(report["learning"]).to_csv(outputs.learning, index=False)


def _account(report: dict[str, Any]) -> None:
    figures = report["metrics"]
    say(f"{report['rows']:,} test rows, {report['level']:.0%} intervals from {report['resamples']:,} resamples of {report['drawn']}")
    say(f"accuracy {shown(figures['accuracy'])}, macro F1 {shown(figures['macro_f1'])}, calibration error {shown(figures['ece'])}")
    say(f"baseline accuracy {shown(figures['baseline']['accuracy'])}; the model leads by {shown(figures['lead']['accuracy'])}")
    say(f"answers {shown(figures['answered']['coverage'])} of the texts by itself, {shown(figures['answered']['accuracy'])} of them right")
    small = sum(part["outcome"] == "insufficient" for part in report["slices"])
    say(f"{len(report['slices'])} slices, {small} of them too small to judge")
    say(f"doubling the train rows gave the baseline {shown(report['doubling']['accuracy'])}: {_advice(report['doubling']['accuracy'])}")


def _advice(gain: dict[str, float]) -> str:
    return "more data would probably help" if gain["low"] > 0 else "it is not plain that more data would help"


if __name__ == "__main__":
    main(evaluate)
