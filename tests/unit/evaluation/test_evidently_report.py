import re
from types import ModuleType

import numpy as np
import pytest

from evergreen.drift.two_sample import kolmogorov_smirnov
from tests.drift_factories import audit_report, drift_report, page_table, seen
from tests.factories import LABELS
from tests.html_factories import HOSTILE, scripts

# Evidently imports numpy.core and other names on their way out; none of it is ours to change.
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.filterwarnings("ignore::FutureWarning")]
NOTHING_TO_AUDIT = {"columns": [], "intersections": [], "largest_gap": None, "reason": "no group column is named"}
MANY = tuple(f"intent {number:02d}" for number in range(77))


@pytest.fixture(scope="module")
def page() -> ModuleType:
    from evergreen.evaluation import evidently_report

    return evidently_report


@pytest.fixture(scope="module")
def html(page: ModuleType) -> str:
    return page.evidently_page(page_table(120, 1), page_table(200, 2), audit=audit_report(), drift=drift_report())


def test_one_page_shows_classification_drift_and_audit(html: str) -> None:
    for said in ("Classification Model Performance", "Confusion Matrix", "Dataset Drift", "Fairness audit", "too few rows", "35-59"):
        assert said in html


def test_the_drift_section_names_our_tests_and_level(html: str) -> None:
    assert "an alarm below p = 0.00063 (0.01, Bonferroni over 16 tests)" in html
    assert "Kolmogorov-Smirnov p-value" in html
    assert "G-test p-value" in html


def test_the_page_loads_nothing_from_elsewhere(html: str) -> None:
    loads = re.findall(r"<(?:script|link|img|iframe)[^>]*\s(?:src|href)=[\"']?(?!data:)[^\"' >]+", html)
    assert loads == []
    assert not re.search(r"@import\s|url\([\"']?https?:", html)


def test_the_same_rows_give_the_same_bytes(page: ModuleType, html: str) -> None:
    assert page.evidently_page(page_table(120, 1), page_table(200, 2), audit=audit_report(), drift=drift_report()) == html


def test_an_alarm_of_ours_is_an_alarm_on_the_page(page: ModuleType, html: str) -> None:
    current = seen(200, 1, shift=2.0)
    drifted = page.evidently_page(page_table(120, 1), page_table(200, 2), audit=audit_report(), drift=drift_report(current=current))
    assert '"ALARM"' in drifted
    assert '"ALARM"' not in html


def test_evidently_shows_the_p_value_that_we_compute(html: str) -> None:
    current, reference = (table["mean_word_length"].to_numpy() for table in (page_table(120, 1), page_table(200, 2)))
    shown = re.search(r'"column_name": "mean_word_length", .*?"drift_score": "?([0-9.e-]+)', html)
    assert float(shown[1]) == pytest.approx(kolmogorov_smirnov(current, reference).p_value, abs=1e-5)


@pytest.mark.parametrize(
    "case",
    [
        "one label",
        "two of four labels",
        "a label that test lacks",
        "an all-null column",
        "a constant column",
        "no groups",
        "77 labels",
        "few rows",
    ],
)
def test_awkward_tables_still_give_a_page(page: ModuleType, case: str) -> None:
    labels = MANY if case == "77 labels" else LABELS
    current, reference = (page_table(rows, seed, labels) for rows, seed in ((120, 1), (200, 2)))
    audit = audit_report()
    if case == "one label":
        current["label"] = current["prediction"] = "card"
    elif case == "two of four labels":
        current = current[current["label"].isin(LABELS[2:])]
        current["prediction"] = current["label"]
    elif case == "a label that test lacks":
        current = current[current["label"] != "fraud"].assign(prediction="card")
    elif case == "an all-null column":
        current["words"], reference["words"] = np.nan, np.nan
    elif case == "a constant column":
        current["words"], reference["words"] = 3.0, 3.0
    elif case == "no groups":
        current, reference = (table.drop(columns="group age_band") for table in (current, reference))
        audit = NOTHING_TO_AUDIT
    elif case == "few rows":
        current = current.head(5)
    made = page.evidently_page(current, reference, audit=audit, drift=drift_report())
    assert ("Classification Model Performance" in made) == (case not in {"one label", "two of four labels"})
    assert ("no group column is named" in made) == (case == "no groups")


def test_two_labels_give_a_page_that_says_which_number_is_which(page: ModuleType) -> None:
    two = ("keep", "leave & go")
    current, reference = (page_table(rows, seed, two) for rows, seed in ((120, 1), (200, 2)))
    made = page.evidently_page(current, reference, audit=audit_report(), drift=drift_report())
    assert "Classification Model Performance" in made
    assert "Confusion Matrix" in made
    assert "0 is *keep*, 1 is *leave &amp; go*. Overall precision, recall and F1 are those of *leave &amp; go*." in made
    recall = (current.loc[current["label"] == two[1], "prediction"] == two[1]).mean()
    assert f'{{"value": "{recall:.3f}", "label": "Recall"}}' in made


def test_no_name_in_the_data_becomes_a_script(page: ModuleType, html: str) -> None:
    current, reference = page_table(120, 1), page_table(200, 2)
    current.loc[:40, "group age_band"] = HOSTILE
    reference.loc[:40, "group age_band"] = HOSTILE
    drift, audit = drift_report(), audit_report()
    drift["tests"][0]["note"] = HOSTILE
    audit["columns"][0]["groups"][0]["group"] = HOSTILE
    made = page.evidently_page(current, reference, audit=audit, drift=drift)
    assert scripts(made) == scripts(html) and HOSTILE not in made and "alert(1)" in made
