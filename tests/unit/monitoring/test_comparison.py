"""Champion against challenger, from rows alone."""

import json
from math import isnan

import pytest

from evergreen.monitoring.trials.comparison import Disagreement, compare_arms, compare_pairs
from evergreen.monitoring.trials.words import notes, sentence
from tests.trial_factories import row, trial


def pairs(wins=0, losses=0, both=0, unlabelled=0):
    """Rows of champion and challenger: the challenger alone right, the champion alone right, both right, no label."""
    yield from [(row("loan", "card"), row("card", "card"))] * wins
    yield from [(row("card", "card"), row("loan", "card"))] * losses
    yield from [(row("card", "card"), row("card", "card"))] * both
    yield from [(row("card"), row("loan"))] * unlabelled


def arm(right, wrong=0, unlabelled=0, keys=40):
    rows = [row("card", "card")] * right + [row("loan", "card")] * wrong + [row("card")] * unlabelled
    return [row(item.prediction, item.label, key_id=f"k{place % keys}") for place, item in enumerate(rows)]


def test_figures_of_a_shadow_are_counted() -> None:
    found = compare_pairs(trial(), pairs(wins=3, losses=1, both=6, unlabelled=10), told=25)
    assert (found.champion.answers, found.challenger.answers, found.missing) == (20, 20, 5)
    assert found.champion.accuracy.value == pytest.approx(0.7) and found.challenger.accuracy.value == pytest.approx(0.9)
    assert found.difference.value == pytest.approx(0.2) and (found.wins, found.losses) == (3, 1)
    assert found.agreement.value == pytest.approx(6 / 20)
    assert found.disagreements == (Disagreement("card", "loan", 11, 1, 0), Disagreement("loan", "card", 3, 0, 3))
    assert found.champion.labels["card"].told == 10 and found.challenger.labels["card"].right == 9


def test_a_label_that_neither_gave_tells_for_neither() -> None:
    found = compare_pairs(trial(), [(row("card", "other"), row("loan", "other"))])
    assert (found.wins, found.losses, found.champion.labelled) == (0, 0, 1)


@pytest.mark.parametrize(
    ("counts", "margin", "says"),
    [
        ({"wins": 60, "losses": 10, "both": 500}, None, "better"),
        ({"wins": 10, "losses": 60, "both": 500}, None, "worse"),
        ({"wins": 12, "losses": 10, "both": 500}, None, "not yet"),
        ({"wins": 2, "losses": 2, "both": 2000}, 0.02, "no worse"),
        ({"unlabelled": 100}, 0.02, "not yet"),
        ({}, None, "not yet"),
    ],
)
def test_the_verdict_follows_the_labels(counts, margin, says) -> None:
    found = compare_pairs(trial(), pairs(**counts), margin=margin)
    assert found.verdict == says
    assert sentence(found).startswith(f"{says}: ") and "as often as one likes" in sentence(found)


def test_swapping_the_versions_mirrors_the_difference() -> None:
    there = compare_pairs(trial(), pairs(wins=20, losses=9, both=300))
    back = compare_pairs(trial(), pairs(wins=9, losses=20, both=300))
    assert (there.difference.low, there.difference.high) == pytest.approx((-back.difference.high, -back.difference.low))


def test_a_canary_compares_arms_of_different_requests() -> None:
    found = compare_arms(trial("canary"), arm(400, 100, 50), arm(95, 5, 5), margin=0.02)
    assert found.difference.value == pytest.approx(0.15) and found.verdict == "better"
    assert found.agreement is None and found.disagreements == ()
    assert (found.champion.labelled, found.challenger.labelled, found.champion.keys) == (500, 100, 40)


def test_a_forecast_says_how_many_labels_would_tell() -> None:
    found = compare_pairs(trial(), pairs(wins=30, losses=15, both=255))
    assert found.verdict == "not yet" and 300 < found.labels_needed < 3000
    assert "more will tell" in sentence(found)
    grown = found.labels_needed / 300
    assert compare_pairs(trial(), pairs(int(30 * grown) + 1, int(15 * grown), int(255 * grown))).verdict == "better"


def test_equal_versions_get_no_forecast() -> None:
    assert compare_pairs(trial(), pairs(wins=15, losses=15, both=255)).labels_needed is None


def test_what_nobody_labelled_is_said_and_has_no_accuracy() -> None:
    found = compare_pairs(trial(), pairs(unlabelled=30))
    assert isnan(found.champion.accuracy.value) and "nobody has told" in sentence(found)
    silent = compare_arms(trial("canary"), arm(30), arm(0, 0, 30))
    assert "none of the challenger's" in sentence(silent) and silent.verdict == "not yet"


def test_the_report_is_json_without_nan() -> None:
    for found in (compare_pairs(trial(), []), compare_arms(trial("canary"), arm(3), arm(0))):
        content = json.loads(json.dumps(found.report(), allow_nan=False))
        assert content["challenger"]["accuracy"] == {"value": None, "low": 0.0, "high": 1.0}
        assert content["trial"]["challenger"] == "new" and content["verdict"] == "not yet"


def test_doubts_are_told() -> None:
    told = " ".join(notes(compare_pairs(trial(), pairs(both=10, unlabelled=90), told=120, others=7)))
    assert "20 of 120 requests" in told and "10.0% of the requests" in told and "7 answers of other versions" in told
    told = " ".join(notes(compare_arms(trial("canary"), arm(50), arm(10, keys=3))))
    assert "3 API keys" in told
    assert list(notes(compare_pairs(trial(), pairs(both=10)))) == []


def test_rows_are_read_once_and_not_kept() -> None:
    stream = pairs(both=50)
    assert compare_pairs(trial(), stream).champion.answers == 50
    assert next(stream, None) is None
