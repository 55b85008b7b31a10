"""Alarms: quiet windows stay quiet, changed ones are found, and what is said of them is right."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from evergreen.drift.alarms import judge
from evergreen.drift.reference import Reference
from evergreen.drift.rows import Seen, distinct, look
from evergreen.model.inference import Classifier
from evergreen.sections.loop import Monitor
from tests.data_factories import params
from tests.drift_factories import reference, seen_of, window
from tests.factories import examples, tiny_artifact, tiny_calibration

SETTINGS = params().monitor
SHORT = ("hi", "thanks", "ok", "hello", "bye", "yes", "no", "thank you", "good morning", "help", "?", "great")
WORDS = [f"word{number}" for number in range(400)]


def settings(**changes: object) -> Monitor:
    return SETTINGS.model_copy(update=changes)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return reference(tmp_path_factory.mktemp("reference") / "kept")


def alarming(facts: dict[str, object]) -> set[str]:
    return {test["name"] for test in facts["tests"] if test["alarm"]}


def test_windows_from_where_the_reference_came_from_alarm_as_often_as_allowed(known: Reference) -> None:
    """Of 60 windows, each with a reference of its own, one in ten may alarm; 14 or more would be a chance of 1 in 1,000."""
    lax = settings(false_alarms=1.0, windows=10)
    quiet = [judge(replace(known, rows=window(200, 1000 + seed)), window(60, seed), number=seed, settings=lax) for seed in range(1, 61)]
    assert 1 <= sum(facts["alarm"] for facts in quiet) <= 13
    assert all(0 < facts["p_value"] <= 1 for facts in quiet) and all(bool(alarming(facts)) == facts["alarm"] for facts in quiet)


def test_a_year_spends_its_chance_evenly_over_the_windows(known: Reference) -> None:
    assert judge(known, window(40, 1), number=1, settings=settings(false_alarms=0.1, windows=50))["level"] == 0.1 / 50


def test_a_shift_of_the_embeddings_is_found_where_it_is(known: Reference) -> None:
    facts = judge(known, window(80, 1, shift=1.0), number=1, settings=SETTINGS)
    assert facts["alarm"] and facts["p_value"] <= facts["level"] and facts["permutations"] >= 2 / facts["level"] - 1
    assert alarming(facts) == {"embedding", "embedding, whitened"}


def test_a_label_that_the_model_no_longer_gives_is_named(known: Reference) -> None:
    rows = window(120, 1)
    others = rows.take(rows.probabilities.argmax(axis=1) != 1)
    facts = judge(known, others, number=1, settings=SETTINGS)
    [prediction] = [test for test in facts["tests"] if test["name"] == "prediction"]
    assert prediction["alarm"] and prediction["note"].startswith("most: card, ") and prediction["note"].endswith(" 0.0% now")


def test_words_that_train_did_not_know_are_found(known: Reference) -> None:
    rows = window(80, 1)
    unknown = rows.descriptors.assign(unknown_word_share=rows.descriptors["unknown_word_share"] + 0.3)
    facts = judge(known, replace(rows, descriptors=unknown), number=1, settings=SETTINGS)
    assert alarming(facts) == {"unknown_word_share"}


def test_a_group_that_no_caller_tells_is_not_tested_and_raises_no_alarm(known: Reference) -> None:
    rows = window(80, 1)
    silent = replace(rows, categories={**rows.categories, "group_age_band": np.array(["missing"] * 80, dtype=object)})
    facts = judge(known, silent, number=1, settings=SETTINGS)
    [told] = [test for test in facts["tests"] if test["name"] == "age_band"]
    assert (told["p_value"], told["alarm"], told["note"]) == (None, False, "not tested: no caller told it")
    assert not facts["alarm"]


def telling(rows: Seen, tell: NDArray[np.bool_], values: object = None) -> Seen:
    """Rows of which only some tell an age band."""
    band = np.where(tell, rows.categories["group_age_band"] if values is None else values, "missing").astype(object)
    return replace(rows, categories={**rows.categories, "group_age_band": band})


def age_band(facts: dict[str, object]) -> dict[str, object]:
    [found] = [test for test in facts["tests"] if test["name"] == "age_band" and test["scale"] == "window"]
    return found


@pytest.mark.parametrize("told", [1, 19, 20, 40, 79])
def test_who_tells_a_group_is_a_note_and_no_alarm(known: Reference, told: int) -> None:
    rows = window(80, 1)
    facts = judge(known, telling(rows, np.arange(80) < told), number=1, settings=SETTINGS)
    assert not facts["alarm"] and facts["p_value"] > 0.01
    words = f"{'not tested: ' if told < 20 else ''}told for {told} of 80 rows, 200 of 200 before"
    assert words in age_band(facts)["note"] and (age_band(facts)["p_value"] is None) == (told < 20)


def test_callers_who_begin_to_tell_a_group_raise_no_alarm(known: Reference) -> None:
    untold = replace(known, rows=telling(known.rows, np.arange(200) < 50))
    earlier = [telling(window(60, seed), np.arange(60) < 0) for seed in range(2, 6)]
    facts = judge(untold, window(60, 1), number=6, settings=SETTINGS, earlier=earlier)
    assert not facts["alarm"] and facts["p_value"] > 0.01
    alone, together = (test["note"] for test in facts["tests"] if test["name"] == "age_band")
    assert re.fullmatch(r"told for (5\d|60) of \1 rows, 50 of 200 before", alone)
    assert re.fullmatch(r"told for (5\d|60) of (2\d\d|300) rows, 50 of 200 before", together)


def test_a_group_that_changed_among_the_few_who_tell_it_is_found(known: Reference) -> None:
    facts = judge(known, telling(window(80, 1), np.arange(80) < 40, "60+"), number=1, settings=SETTINGS)
    assert alarming(facts) == {"age_band"} and age_band(facts)["note"].startswith("most: 60+, ")


def test_a_group_whose_people_changed_is_found(known: Reference) -> None:
    rows = window(80, 1)
    changed = replace(rows, categories={**rows.categories, "group_age_band": np.array(["60+"] * 80, dtype=object)})
    assert alarming(judge(known, changed, number=1, settings=SETTINGS)) == {"age_band"}


def test_drift_too_slow_for_one_window_is_found_in_several_together(known: Reference) -> None:
    slow = [window(60, seed, shift=0.2) for seed in range(1, 8)]
    alone = judge(known, slow[-1], number=7, settings=settings(pooled=1))
    together = judge(known, slow[-1], number=7, settings=SETTINGS, earlier=slow[:-1])
    assert not alone["alarm"] and together["alarm"]
    assert {test["scale"] for test in together["tests"] if test["alarm"]} == {"last 7 windows"}


def test_only_as_many_earlier_windows_are_taken_as_are_looked_at_together(known: Reference) -> None:
    before = [window(40, seed) for seed in range(1, 6)]
    facts = judge(known, window(40, 9), number=6, settings=settings(pooled=3), earlier=before)
    assert {test["scale"] for test in facts["tests"]} == {"window", "last 3 windows"}


def test_a_window_whose_rows_are_gone_is_passed_over(known: Reference, tmp_path: Path) -> None:
    model = Classifier.load(tiny_artifact(tmp_path / "artifact"), tiny_calibration(tmp_path / "calibration.json"))
    gone = look(pd.DataFrame({"text": []}), model, known.train, known.categories)
    assert len(gone) == 0
    alone = judge(known, window(40, 9), number=3, settings=SETTINGS, earlier=[gone])
    assert alone == judge(known, window(40, 9), number=3, settings=SETTINGS)
    facts = judge(known, window(40, 9), number=3, settings=SETTINGS, earlier=[gone, window(40, 1)])
    assert {test["scale"] for test in facts["tests"]} == {"window", "last 2 windows"}


def test_the_same_window_gives_the_same_facts(known: Reference) -> None:
    one, two = (judge(known, window(60, 1, shift=0.4), number=3, settings=SETTINGS, earlier=[window(60, 2)]) for _ in range(2))
    assert one == two


def test_more_rows_than_are_looked_at_become_a_sample(known: Reference) -> None:
    facts = judge(known, window(300, 1, shift=1.0), number=1, settings=settings(max_rows=60))
    assert facts["alarm"] and facts["rows"] == 300


@pytest.mark.parametrize("rows", [0, 1, 19])
def test_too_few_rows_are_not_tested_and_say_so(known: Reference, rows: int) -> None:
    facts = judge(known, window(40, 1).take(np.arange(rows)), number=1, settings=SETTINGS)
    assert (facts["alarm"], facts["p_value"], facts["tests"]) == (False, None, [])
    assert facts["note"] == f"too few rows to test ({rows} that repeat no text against 200; at least 20 are needed)"


def test_a_window_that_mostly_repeats_is_still_looked_at_together_with_those_before(known: Reference) -> None:
    drifted = [window(60, seed, shift=1.0) for seed in (1, 2, 3)]
    rows = replace(drifted[2], repeated=np.arange(60) >= 19)
    facts = judge(known, rows, number=3, settings=SETTINGS, earlier=drifted[:2])
    assert facts["alarm"] and {test["scale"] for test in facts["tests"]} == {"last 3 windows"}
    assert facts["note"].startswith("the window alone has too few rows to test (18 that repeat no text against 200; ")
    campaign = replace(drifted[2], repeated=np.ones(60, bool))
    assert judge(known, campaign, number=3, settings=SETTINGS, earlier=drifted[:2])["alarm"]
    lonely = judge(known, campaign, number=1, settings=SETTINGS, earlier=[campaign])
    assert (lonely["alarm"], lonely["p_value"], lonely["tests"]) == (False, None, [])


def test_a_year_of_windows_that_mostly_repeat_alarms_no_more_often_than_allowed(known: Reference) -> None:
    """Only half of a window's level is left for it: of 60 one in twenty may alarm; 10 or more would be a chance of 1 in 1,000."""
    lax = settings(false_alarms=1.0, windows=10)
    repeats = np.arange(40) >= 10
    found = [
        judge(
            replace(known, rows=window(200, 2000 + seed)),
            replace(window(40, seed), repeated=repeats),
            number=seed,
            settings=lax,
            earlier=[window(40, 5000 + seed)],
        )
        for seed in range(1, 61)
    ]
    assert {test["scale"] for facts in found for test in facts["tests"]} == {"last 2 windows"}
    assert sum(facts["alarm"] for facts in found) <= 9


def chatter(rows: int, seed: int) -> pd.DataFrame:
    """Texts as people send them: 3 in 10 are one of 12 short ones."""
    random = np.random.default_rng(seed)
    table = examples(rows, seed=seed)
    long = [f"{text} {' '.join(random.choice(WORDS, 12))}" for text in table["text"]]
    often = random.random(rows) < 0.3
    return table.assign(text=np.where(often, random.choice(SHORT, rows), long))


def met(table: pd.DataFrame) -> Seen:
    """What there is to see of texts, each with an embedding of its own."""
    once = distinct(table)
    own = [np.random.default_rng(list(text.encode())).standard_normal(8) + (3.0 if text in SHORT else 0.0) for text in once["text"]]
    return replace(seen_of(once, seed=len(once)), embeddings=np.array(own, np.float32), repeated=once["repeated"].to_numpy(bool))


def test_short_texts_that_come_all_the_time_are_no_drift(known: Reference) -> None:
    before = replace(known, rows=met(chatter(500, 99)))
    windows = [met(chatter(80, seed)) for seed in range(1, 9)]
    p_values = [
        judge(before, rows, number=place, settings=settings(false_alarms=1.0, windows=100), earlier=windows[: place - 1])["p_value"]
        for place, rows in enumerate(windows, 1)
    ]
    assert min(p_values) > 0.01


def test_embeddings_that_never_vary_and_one_label_alone_are_no_fault(known: Reference) -> None:
    still = replace(known, rows=flat(known.rows))
    facts = judge(still, flat(window(60, 1)), number=1, settings=SETTINGS)
    assert not {"embedding", "embedding, whitened", "prediction"} & alarming(facts)


def flat(rows: Seen) -> Seen:
    return replace(rows, embeddings=np.ones_like(rows.embeddings), probabilities=np.tile([1.0, 0, 0, 0], (len(rows), 1)))
