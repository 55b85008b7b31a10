"""Group figures: ours equal fairlearn's on points and on every resample, small groups stay out, gaps are gaps."""

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import MetricFrame, false_positive_rate, selection_rate, true_positive_rate

from evergreen.evaluation.audit import audit, audit_grouping, largest_gap, worst_group
from evergreen.evaluation.fairness import MIN_RATE_ROWS, RATES, Grouping, Subject, cross, gap, metric_frame, rate_counter, sample
from evergreen.evaluation.intervals import resampled
from tests.evaluation_factories import predictions

KNOBS = {"resamples": 200, "level": 0.95, "seed": 0}
FAIRLEARN = {"selection_rate": selection_rate, "true_positive_rate": true_positive_rate, "false_positive_rate": false_positive_rate}


@pytest.fixture(scope="module")
def table():
    return predictions(600)


@pytest.fixture(scope="module")
def subject(table):
    return Subject.of(table)


@pytest.fixture(scope="module")
def languages(table):
    return Grouping.of("first_language", table["group_first_language"].tolist())


def per_class_frame(subject, rows, groups, label):
    """Return what fairlearn's own metrics say of one class asked as a yes-or-no question."""
    truth, answer = (codes[rows] == label for codes in (subject.actual, subject.predicted))
    return MetricFrame(metrics=FAIRLEARN, y_true=truth, y_pred=answer, sensitive_features=groups[rows]).by_group[list(RATES)]


def test_points_equal_fairlearns_own_metrics_class_by_class(subject, languages):
    _, rates = metric_frame(subject, languages)
    for label in range(len(subject.labels)):
        expected = per_class_frame(subject, np.arange(600), languages.codes, label)
        np.testing.assert_allclose(rates[:, :, label], expected.to_numpy(float).T)


def test_vectorised_rates_equal_fairlearn_on_resamples(subject, languages):
    weights = next(resampled(rows=600, resamples=3, seed=1))
    for draw in weights:
        rows = np.repeat(np.arange(600), draw.astype(int))
        for group in range(2):
            places = np.flatnonzero(languages.codes == group)
            found = rate_counter(subject, places)(draw[None, places])[0]
            for label in range(len(subject.labels)):
                expected = per_class_frame(subject, rows, languages.codes, label)
                np.testing.assert_allclose(found[:, label], expected.loc[group].to_numpy(float))


def test_our_points_and_metric_frames_are_the_same_figures(subject, languages):
    accuracy, rates = metric_frame(subject, languages)
    ones = np.ones((1, 600))
    for group in range(2):
        places = np.flatnonzero(languages.codes == group)
        np.testing.assert_allclose(rate_counter(subject, places)(ones[:, places])[0], rates[:, group])
        assert accuracy[group] == pytest.approx((subject.actual == subject.predicted)[places].mean())


def test_the_gap_equals_metric_frames_difference_and_ratio(subject, languages):
    sampled = sample(subject, languages, **KNOBS)
    for label in range(len(subject.labels)):
        truth, answer = subject.actual == label, subject.predicted == label
        frame = MetricFrame(metrics=FAIRLEARN, y_true=truth, y_pred=answer, sensitive_features=languages.codes)
        for kind, name in enumerate(RATES):
            difference, share, _, _ = gap(sampled.rates[kind, :, label], sampled.rate_draws[:, kind, :, label], level=0.95)
            assert difference.value == pytest.approx(frame.difference()[name])
            assert share.value == pytest.approx(frame.ratio()[name])


def test_a_gap_names_worst_and_best_and_leaves_undefined_groups_out():
    points = np.array([0.8, np.nan, 0.5, 0.9])
    draws = points + np.random.default_rng(0).normal(scale=0.01, size=(300, 4))
    difference, share, worst, best = gap(points, draws, level=0.95)
    assert (worst, best) == (2, 3)
    assert difference.value == pytest.approx(0.4)
    assert share.value == pytest.approx(0.5 / 0.9)
    assert difference.low < 0.4 < difference.high


def test_one_group_has_no_gap():
    assert gap(np.array([0.8, np.nan]), np.full((50, 2), 0.8), level=0.95) is None


def test_a_gap_between_groups_that_are_alike_is_shifted_upwards_on_resamples():
    alike = predictions(400, group_any=["a", "b"] * 200, seed=3)
    subject, grouping = Subject.of(alike), Grouping.of("any", alike["group_any"].tolist())
    sampled = sample(subject, grouping, resamples=500, level=0.95, seed=0)
    difference, _, _, _ = gap(sampled.accuracy, sampled.accuracy_draws, level=0.95)
    drawn = sampled.accuracy_draws.max(axis=1) - sampled.accuracy_draws.min(axis=1)
    assert drawn.mean() > difference.value
    assert difference.low >= 0


def test_a_group_with_a_known_disadvantage_is_found_with_its_size(table):
    report = audit(table, min_group_rows=30, intersections=False, **KNOBS)
    right = (table["label"] == table["prediction"]).groupby(table["group_first_language"]).mean()
    assert report["worst_group"]["group"] == "other"
    assert report["worst_group"]["accuracy"]["value"] == pytest.approx(right["other"], abs=1e-6)
    assert report["largest_gap"]["difference"]["value"] == pytest.approx(right["english"] - right["other"], abs=1e-6)


def test_a_small_group_is_insufficient_and_moves_no_gap():
    table = predictions(300)
    table.loc[:9, "group_first_language"] = "tiny"
    table.loc[:9, "prediction"] = "nothing"
    report = audit(table, min_group_rows=30, intersections=False, **KNOBS)
    column = report["columns"][1]
    tiny = next(group for group in column["groups"] if group["group"] == "tiny")
    assert tiny == {"group": "tiny", "rows": 10, "outcome": "insufficient", "accuracy": None, "classes": []}
    assert all("tiny" not in (each["lowest"], each["highest"]) for each in column["gaps"])
    assert report["worst_group"]["group"] != "tiny"


def test_a_rate_on_too_few_rows_of_its_class_is_null_and_moves_no_gap():
    table = predictions(400)
    lonely = (table["group_first_language"] == "other") & (table["label"] == "fraud")
    table = table.drop(index=table.index[lonely][MIN_RATE_ROWS - 1 :])
    column = audit(table, min_group_rows=30, intersections=False, **KNOBS)["columns"][1]
    other = next(group for group in column["groups"] if group["group"] == "other")
    fraud = next(row for row in other["classes"] if row["label"] == "fraud")
    assert fraud["rows"] == MIN_RATE_ROWS - 1
    assert fraud["true_positive_rate"] is None
    assert fraud["selection_rate"] is not None
    assert not [each for each in column["gaps"] if (each["metric"], each["label"]) == ("true_positive_rate", "fraud")]


def test_missing_groups_are_a_group_of_their_own():
    grouping = Grouping.of("region", ["north", None, float("nan"), "south", pd.NA])
    assert grouping.names == ("missing", "north", "south")
    assert grouping.rows.tolist() == [3, 1, 1]


def test_leaving_small_groups_out_keeps_the_codes_of_the_others():
    grouping = Grouping.of("g", ["a", "b", "b", "c", "c", "c"]).at_least(2)
    assert grouping.names == ("b", "c")
    assert grouping.codes.tolist() == [-1, 0, 0, 1, 1, 1]
    assert grouping.at_least(3).codes.tolist() == [-1, -1, -1, 0, 0, 0]


def test_crossings_hold_each_row_once_under_both_names(table):
    one, other = (Grouping.of(name, table[f"group_{name}"].tolist()) for name in ("age_band", "first_language"))
    crossed = cross(one, other)
    assert crossed.title == "age_band x first_language"
    assert crossed.rows.sum() == 600
    expected = table.groupby(["group_age_band", "group_first_language"]).size()
    assert dict(zip(crossed.names, crossed.rows.tolist(), strict=True)) == {" x ".join(pair): count for pair, count in expected.items()}


def test_intersections_are_shown_but_do_not_speak_to_the_gate(table):
    report = audit(table, min_group_rows=10, intersections=True, **KNOBS)
    assert [item["name"] for item in report["intersections"]] == ["age_band x first_language"]
    assert report["worst_group"]["column"] in ("age_band", "first_language")
    assert report["worst_intersection"]["column"] == "age_band x first_language"
    assert audit(table, min_group_rows=10, intersections=False, **KNOBS)["intersections"] == []


def test_the_gap_for_the_gate_is_the_one_whose_interval_reaches_highest():
    def column(name, value, high):
        gap = {"metric": "accuracy", "label": None, "lowest": "a", "highest": "b", "difference": {"value": value, "low": 0.0, "high": high}}
        return {"name": name, "groups": [], "gaps": [gap, {**gap, "metric": "selection_rate"}]}

    assert largest_gap([column("sure", 0.10, 0.12), column("unsure", 0.09, 0.25)])["column"] == "unsure"
    assert largest_gap([]) is None
    assert worst_group([column("none", 0.1, 0.2)]) is None


def test_the_seed_decides_the_audit(subject, languages):
    first, again, other = (
        audit_grouping(subject, languages, min_group_rows=30, resamples=200, level=0.95, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
