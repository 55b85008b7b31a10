import numpy as np
import pytest

from tests.drift_factories import drift_report, seen


def alarms(report: dict) -> set[str]:
    return {test["name"] for test in report["tests"] if test["drifted"]}


def test_unchanged_rows_raise_no_alarm() -> None:
    report = drift_report()
    assert report["drifted"] == 0
    assert report["rows"] == {"reference": 400, "current": 200, "heldout": 150}


def test_the_level_is_shared_by_all_tests() -> None:
    report = drift_report()
    assert len(report["tests"]) == 9 + 3 + 1 + 2 + 1
    assert report["corrected_level"] == pytest.approx(0.01 / 16)
    assert report["correction"] == "Bonferroni over 16 tests"


def test_what_was_fitted_on_train_is_compared_with_held_out_rows() -> None:
    fitted = {test["name"] for test in drift_report()["tests"] if test["reference"] == "held-out"}
    assert fitted == {"unknown_word_share", "confidence", "probabilities", "prediction", "embedding"}


def test_a_model_overconfident_on_train_raises_no_alarm() -> None:
    assert drift_report(train=seen(400, 2, confident=9.0, shift=5.0))["drifted"] == 0


@pytest.mark.parametrize(("change", "found"), [
    ({"shift": 2.0}, {"embedding"}),
    ({"confident": 4.0}, {"confidence", "probabilities"}),
])  # fmt: skip
def test_a_change_of_the_outputs_alarms_where_it_happened(change: dict, found: set[str]) -> None:
    assert alarms(drift_report(current=seen(200, 1, **change))) == found


def test_other_texts_alarm_in_the_descriptors() -> None:
    changed = seen(200, 1)
    longer = changed.descriptors.assign(characters=changed.descriptors["characters"] * 3)
    assert alarms(drift_report(current=type(changed)(**{**vars(changed), "descriptors": longer}))) == {"characters"}


def test_another_mix_of_labels_and_groups_alarms() -> None:
    changed = seen(200, 1)
    labels, groups = np.repeat(["access"], 200), {**changed.groups, "age_band": np.repeat(["60+"], 200)}
    assert alarms(drift_report(current=type(changed)(**{**vars(changed), "labels": labels, "groups": groups}))) == {"label", "age_band"}


def test_too_few_held_out_rows_say_so_and_do_not_alarm() -> None:
    tests = {test["name"]: test for test in drift_report(heldout=seen(5, 3))["tests"]}
    for name in ("confidence", "probabilities", "prediction", "embedding"):
        assert tests[name]["p_value"] is None
        assert not tests[name]["drifted"]
        assert "too few rows to test (5" in tests[name]["note"]


def test_the_same_rows_and_seed_give_the_same_report() -> None:
    assert drift_report() == drift_report()
