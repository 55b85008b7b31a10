"""The calibrate stage on the tiny artifact."""

from types import SimpleNamespace

import pytest

from evergreen.model.inference import Calibration, Classifier
from evergreen.reports import read_report
from stages.calibrate import calibrate
from tests.evaluation_factories import knobs, workshop
from tests.factories import examples


@pytest.fixture
def outputs(tmp_path):
    return SimpleNamespace(calibration=tmp_path / "calibration.json", report=tmp_path / "report.json")


def test_what_it_writes_is_what_the_classifier_loads(tmp_path, outputs):
    inputs = workshop(tmp_path)
    calibrate(knobs(), inputs, outputs)
    report = read_report(outputs.report)
    classifier = Classifier.load(inputs.artifact, outputs.calibration)
    assert classifier.calibration == Calibration(report["temperature"], report["threshold"])
    assert report["log_loss_after"] <= report["log_loss_before"]
    assert report["rows"] == 80


def test_the_reported_coverage_is_what_the_classifier_then_answers(tmp_path, outputs):
    inputs = workshop(tmp_path, calibration=examples(120, seed=9, noise=0.1))
    calibrate(knobs(calibrate={"target_accuracy": 0.95, "min_coverage": 0.1}), inputs, outputs)
    report = read_report(outputs.report)
    classifier = Classifier.load(inputs.artifact, outputs.calibration)
    confidence = classifier.probabilities(examples(120, seed=9, noise=0.1)["text"].tolist()).max(axis=1)
    assert (confidence >= report["threshold"]).mean() == pytest.approx(report["coverage"], abs=1e-6)


def test_two_runs_write_the_same_bytes(tmp_path, outputs):
    inputs = workshop(tmp_path)
    calibrate(knobs(), inputs, outputs)
    first = outputs.calibration.read_bytes(), outputs.report.read_bytes()
    calibrate(knobs(), inputs, outputs)
    assert (outputs.calibration.read_bytes(), outputs.report.read_bytes()) == first


def test_a_target_out_of_reach_is_said_aloud(tmp_path, outputs, capsys):
    calibrate(knobs(calibrate={"target_accuracy": 1.0, "min_coverage": 0.9}), workshop(tmp_path), outputs)
    assert read_report(outputs.report)["reached"] is False
    assert "no threshold with enough coverage reaches 100%" in capsys.readouterr().out
