"""The challenge stage on tiny artifacts: a champion judged on the challenger's test rows, or nobody."""

import shutil
from types import SimpleNamespace

import pytest

from evergreen.errors import EvidenceError
from evergreen.model.inference import Classifier
from evergreen.reports import read_report, write_report
from stages.challenge import challenge
from tests.evaluation_factories import knobs, predictions
from tests.factories import tiny_artifact, tiny_calibration

FEW = {"resamples": 200}


def place(folder, *, version=None):
    """Place the tiny artifact as champion v1.0.0 and a challenger's predictions; return the stage's inputs."""
    champion = folder / "champion"
    artifact = tiny_artifact(folder / "artifact")
    shutil.copytree(artifact, champion / "artifact")
    tiny_calibration(champion / "calibration.json")
    found = Classifier.load(artifact, champion / "calibration.json").version
    write_report({"version": "v1.0.0", "model_version": version or found}, champion / "champion.json")
    predictions(160, model_version="0123456789ab").to_parquet(folder / "predictions.parquet")
    return SimpleNamespace(champion=champion, predictions=folder / "predictions.parquet")


def run(folder, inputs, **fields):
    challenge(knobs(challenge=FEW | fields), inputs, SimpleNamespace(report=folder / "report.json"))
    return read_report(folder / "report.json")


def test_without_a_champion_nothing_is_compared(tmp_path):
    (tmp_path / "champion").mkdir()
    report = run(tmp_path, SimpleNamespace(champion=tmp_path / "champion", predictions=tmp_path / "none.parquet"))
    assert report == {"champion": None, "reason": "there is no champion to compare with"}


def test_both_are_judged_on_every_test_row(tmp_path):
    inputs = place(tmp_path)
    report = run(tmp_path, inputs)
    table = predictions(160)
    assert report["champion"]["version"] == "v1.0.0"
    assert report["model_version"] == "0123456789ab"
    assert report["all"]["challenger"]["value"] == pytest.approx((table["prediction"] == table["label"]).mean(), abs=1e-6)
    assert report["all"]["difference"]["value"] == pytest.approx(
        report["all"]["challenger"]["value"] - report["all"]["champion"]["value"], abs=2e-6
    )
    assert {part["by"] for part in report["slices"]} == {"age_band", "first_language", "length", "month"}


def test_rows_since_the_given_day_are_the_new_ones(tmp_path):
    inputs = place(tmp_path)
    times = predictions(160)["timestamp"].sort_values()
    report = run(tmp_path, inputs, since=times.iloc[100].to_pydatetime())
    new = int((times >= times.iloc[100]).sum())
    assert (report["new"]["rows"], report["old"]["rows"], report["all"]["rows"]) == (new, 160 - new, 160)
    assert f"With {new} new rows a true tie passes" in report["new"]["power"]["words"]


def test_an_artifact_that_is_not_the_named_version_is_refused(tmp_path):
    with pytest.raises(EvidenceError, match=r"holds model \w+, but its champion.json names 000000000000"):
        run(tmp_path, place(tmp_path, version="000000000000"))


def test_two_runs_write_the_same_bytes(tmp_path):
    inputs = place(tmp_path)
    run(tmp_path, inputs)
    first = (tmp_path / "report.json").read_bytes()
    run(tmp_path, inputs)
    assert (tmp_path / "report.json").read_bytes() == first
