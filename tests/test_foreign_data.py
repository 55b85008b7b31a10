"""The benchmarks on foreign data say where they look for it, and guess at no folder."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import datasets, failing_loudly, real_drift

SCRIPTS = [(datasets, "banking77", "banking77"), (failing_loudly, "", "banking77"), (real_drift, "", "kiva/kiva_default.csv")]


@pytest.mark.parametrize(("script", "told", "wanted"), SCRIPTS)
def test_where_nobody_says_where_the_data_lies_a_benchmark_asks(
    script: ModuleType, told: str, wanted: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", *told.split()])
    monkeypatch.delenv("EVERGREEN_TEST_DATA", raising=False)
    with pytest.raises(SystemExit, match=f"say with --data or EVERGREEN_TEST_DATA in which folder {wanted} lies"):
        script.main()
    monkeypatch.setenv("EVERGREEN_TEST_DATA", str(tmp_path))
    with pytest.raises(SystemExit, match=f"{tmp_path}/{wanted} does not exist"):
        script.main()
