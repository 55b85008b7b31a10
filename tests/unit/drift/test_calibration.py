"""Calibration: what the first look says of quiet windows is about right, and a reference too small for it has none."""

import numpy as np
import pytest

from evergreen.drift.calibration import CHANCES, Calibration, FirstLook, calibrate
from tests.drift_factories import window
from tests.factories import LABELS


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return calibrate(window(400, 1), LABELS, seed=7)


def test_sizes_reach_to_half_of_the_reference(calibration: Calibration) -> None:
    assert [size.rows for size in calibration.sizes] == [50, 100, 200]
    assert [size.rows for size in calibrate(window(60, 1), LABELS, seed=7).sizes] == [30]


def test_a_reference_too_small_has_no_calibration() -> None:
    none = calibrate(window(39, 1), LABELS, seed=7)
    assert none.sizes == [] and none.p_value(0.01, 50) is None


def test_the_chance_rises_with_the_smallest_p_value_and_stays_within_what_was_measured(calibration: Calibration) -> None:
    chances = [calibration.p_value(value, 80) for value in (1e-12, 1e-4, 1e-3, 1e-2, 0.1, 1.0)]
    assert chances == sorted(chances)
    assert (chances[0], chances[-1]) == pytest.approx((CHANCES[0], 1.0))


def test_many_detectors_count_for_fewer_tests_than_they_are_and_more_than_one(calibration: Calibration) -> None:
    for size in calibration.told()["sizes"]:
        assert 2 < size["equivalent_tests"] < 1.5 * calibration.detectors


def test_what_is_told_is_read_again(calibration: Calibration) -> None:
    assert Calibration.of(calibration.told()) == calibration


def test_the_first_look_finds_a_quiet_window_as_surprising_as_the_calibration_says(calibration: Calibration) -> None:
    first = FirstLook(window(400, 1), LABELS, 64, seed=7)
    chances = [calibration.p_value(float(first.at(window(60, seed))[1].min()), 60) for seed in range(100, 200)]
    assert 0.01 <= np.mean(np.array(chances) <= 0.1) <= 0.25


def test_what_never_varied_in_the_reference_and_does_now_is_seen_at_once() -> None:
    first = FirstLook(window(200, 1), LABELS, 64, seed=7)
    rows = window(60, 2)
    rows.descriptors["masked_tokens"] = 3.0
    place = [detector.name for detector in first.detectors].index("masked_tokens")
    assert first.at(rows)[1][place] < 1e-10
