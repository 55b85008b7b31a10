from math import isnan

import numpy as np
import pytest

from evergreen.monitoring.trials.quantiles import Quantiles


def quantiles(values) -> Quantiles:
    counted = Quantiles()
    for value in values:
        counted.add(float(value))
    return counted


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95, 0.99, 1.0])
def test_every_quantile_is_within_one_percent_whatever_the_values(share) -> None:
    values = np.random.default_rng(1).lognormal(2, 2, 5000)
    assert quantiles(values).at(share) == pytest.approx(np.quantile(values, share, method="lower"), rel=0.011)


def test_memory_does_not_grow_with_the_number_of_values() -> None:
    counted = quantiles(np.tile(np.random.default_rng(1).lognormal(2, 1, 500), 20))
    assert counted.count == 10_000 and len(counted._buckets) < 400


def test_nothing_has_no_quantile_and_nought_has_one() -> None:
    assert isnan(Quantiles().at(0.5))
    assert quantiles([0, 0, 0]).at(0.5) == pytest.approx(0, abs=1e-5)
