"""The evaluate stage on the tiny artifact: figures that agree with scikit-learn, and outputs that agree with one another."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score, log_loss

from evergreen.reports import read_report
from stages.evaluate import evaluate
from tests.evaluation_factories import knobs, workshop
from tests.factories import LABELS, examples, tiny_calibration

NAMES = {"metrics": "json", "report": "json", "predictions": "parquet", "confusion": "csv", "reliability": "csv", "learning": "csv"}
FEW = {"resamples": 200}


def run(folder, **tables):
    inputs = workshop(folder, **tables)
    inputs.calibration = tiny_calibration(folder / "calibration.json", temperature=1.5, threshold=0.91)
    outputs = SimpleNamespace(**{name: folder / f"{name}.{kind}" for name, kind in NAMES.items()})
    evaluate(knobs(evaluate=FEW), inputs, outputs)
    return outputs


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    return run(tmp_path_factory.mktemp("evaluate"))


@pytest.fixture(scope="module")
def table(outputs):
    return pd.read_parquet(outputs.predictions)


def test_headline_figures_agree_with_scikit_learn_on_the_predictions(outputs, table):
    figures = read_report(outputs.metrics)
    probabilities = np.stack(table["probabilities"])
    assert figures["accuracy"]["value"] == pytest.approx(accuracy_score(table["label"], table["prediction"]), abs=1e-6)
    assert figures["macro_f1"]["value"] == pytest.approx(f1_score(table["label"], table["prediction"], average="macro"), abs=1e-6)
    assert figures["log_loss"]["value"] == pytest.approx(log_loss(table["label"], probabilities, labels=sorted(LABELS)), abs=1e-6)
    assert all(figures[name]["low"] <= figures[name]["value"] <= figures[name]["high"] for name in ("accuracy", "macro_f1", "log_loss"))


def test_the_lead_is_the_model_minus_the_baseline(outputs):
    figures = read_report(outputs.metrics)
    for name in ("accuracy", "macro_f1"):
        assert figures["lead"][name]["value"] == pytest.approx(figures[name]["value"] - figures["baseline"][name]["value"], abs=2e-6)


def test_answered_rows_are_those_from_the_threshold_on(outputs, table):
    answered = read_report(outputs.metrics)["answered"]
    assert (table["answered"] == (table["confidence"] >= 0.91)).all()
    assert 0 < answered["coverage"]["value"] < 1
    assert answered["coverage"]["value"] == pytest.approx(table["answered"].mean(), abs=1e-6)
    kept = table[table["answered"]]
    assert answered["accuracy"]["value"] == pytest.approx((kept["label"] == kept["prediction"]).mean(), abs=1e-6)


def test_predictions_keep_the_test_rows_and_name_the_model(outputs, table):
    test = pd.read_parquet(outputs.predictions.parent / "splits" / "test.parquet")
    pd.testing.assert_frame_equal(table[test.columns], test)
    assert table["model_version"].unique().tolist() == [read_report(outputs.report)["model_version"]]
    np.testing.assert_allclose(np.stack(table["probabilities"]).max(axis=1), table["confidence"])


def test_confusion_counts_every_row_once_and_equals_its_plot(outputs, table):
    confusion = read_report(outputs.report)["confusion"]
    plot = pd.read_csv(outputs.confusion)
    assert np.sum(confusion["counts"]) == len(plot) == len(table)
    expected = pd.crosstab(plot["actual"], plot["predicted"]).reindex(index=confusion["labels"], columns=confusion["labels"], fill_value=0)
    np.testing.assert_array_equal(confusion["counts"], expected)


def test_reliability_bins_add_up_to_all_rows_and_have_no_empty_one(outputs, table):
    bins = read_report(outputs.report)["reliability"]
    assert sum(row["rows"] for row in bins) == len(table)
    assert all(row["rows"] > 0 and row["low_edge"] <= row["confidence"] <= row["high_edge"] for row in bins)
    assert len(pd.read_csv(outputs.reliability)) == len(bins)


def test_slices_cover_groups_length_and_month_and_small_ones_have_no_figures(outputs, table):
    slices = read_report(outputs.report)["slices"]
    assert {row["by"] for row in slices} == {"age_band", "first_language", "length", "month"}
    for by in ("age_band", "first_language", "length", "month"):
        assert sum(row["rows"] for row in slices if row["by"] == by) == len(table)
    small = [row for row in slices if row["rows"] < 25]
    assert small
    assert all((row["outcome"], row["accuracy"], row["macro_f1"]) == ("insufficient", None, None) for row in small)
    other = next(row for row in slices if row["slice"] == "other")
    rows = table[table["group_first_language"] == "other"]
    assert other["accuracy"]["value"] == pytest.approx((rows["label"] == rows["prediction"]).mean(), abs=1e-6)


def test_the_learning_curve_grows_to_all_train_rows_and_ends_at_the_baseline(outputs):
    curve = read_report(outputs.report)["learning"]
    rows = [point["train_rows"] for point in curve]
    assert rows == sorted(set(rows))
    assert rows[-1] == 200
    assert curve[-1]["accuracy"] == read_report(outputs.metrics)["baseline"]["accuracy"]["value"]


def test_two_runs_write_the_same_bytes(outputs, tmp_path):
    again = run(tmp_path)
    for name in NAMES:
        assert getattr(again, name).read_bytes() == getattr(outputs, name).read_bytes(), name


def test_a_table_without_time_customer_or_groups_is_evaluated_by_length_alone(tmp_path):
    test = examples(60, seed=4)[["id", "text", "label"]]
    report = read_report(run(tmp_path, test=test).report)
    assert {row["by"] for row in report["slices"]} == {"length"}
    assert report["drawn"] == "rows"
