"""The audit stage."""

from types import SimpleNamespace

from evergreen.reports import read_report
from stages.audit import audit
from tests.evaluation_factories import knobs, predictions


def run(folder, table, **fields):
    inputs, outputs = SimpleNamespace(predictions=folder / "predictions.parquet"), SimpleNamespace(report=folder / "audit.json")
    table.to_parquet(inputs.predictions, index=False)
    audit(knobs(audit={"resamples": 200, **fields}), inputs, outputs)
    return read_report(outputs.report)


def test_the_report_names_the_worst_group_and_the_widest_gap(tmp_path, capsys):
    report = run(tmp_path, predictions(600))
    assert (report["worst_group"]["column"], report["worst_group"]["group"]) == ("first_language", "other")
    assert (report["largest_gap"]["lowest"], report["largest_gap"]["highest"]) == ("other", "english")
    said = capsys.readouterr().out
    assert "for first_language other" in said
    assert "other below english" in said


def test_without_groups_it_says_why_there_is_nothing_to_audit(tmp_path, capsys):
    table = predictions(100)
    report = run(tmp_path, table.drop(columns=["group_age_band", "group_first_language"]))
    assert report["reason"] == "the data has no group columns; name some under ingest.columns.groups in params.yaml"
    assert (report["columns"], report["worst_group"], report["largest_gap"]) == ([], None, None)
    assert "nothing to audit: the data has no group columns" in capsys.readouterr().out


def test_with_small_groups_only_it_says_so(tmp_path):
    report = run(tmp_path, predictions(60), min_group_rows=100)
    assert report["reason"] == "no group has 100 test rows or more (audit.min_group_rows)"
    assert all(group["outcome"] == "insufficient" for column in report["columns"] for group in column["groups"])
