"""An explanation names what was put into the traffic, and has little to say where nothing was."""

import numpy as np
import pandas as pd
import pytest

from evergreen.drift.descriptors import words
from evergreen.monitoring.watch.explanation import LEAST, changed_slices, changed_words, surprise, telling_rows
from tests.factories import examples


def counted(texts: list[str]) -> dict[str, int]:
    found = pd.Series([word for text in texts for word in set(words(text))]).value_counts()
    return {word: int(count) for word, count in found.items() if count >= 2}


def test_words_that_came_and_went_are_named_with_both_shares() -> None:
    before, now = examples(300, seed=1)["text"].tolist(), examples(100, seed=2)["text"].tolist()
    now = [text.replace("fraud", "scam") + (" crypto" if place % 2 else "") for place, text in enumerate(now)]
    found = changed_words(now, counted(before), len(before), {"scam": 4})
    rose, fell = found[0], found[-1]
    assert (rose["word"], rose["now"], rose["before"], rose["new"]) == ("crypto", 0.5, 0.0, True)
    assert next(one for one in found if one["word"] == "scam")["new"] is False
    assert fell["word"] == "fraud" and fell["score"] < 0


def test_a_word_of_two_texts_stays_private() -> None:
    now = ["my name is jane"] * 2 + ["hello card"] * 10
    assert "jane" not in {one["word"] for one in changed_words(now, {}, 500, {})}


def test_quiet_traffic_has_little_to_explain() -> None:
    before = examples(300, seed=1)["text"].tolist()
    found = [changed_words(examples(100, seed=seed)["text"].tolist(), counted(before), 300, {}) for seed in range(2, 22)]
    assert sum(map(len, found)) <= 2  # 20 windows of a dozen words


@pytest.mark.parametrize(("now", "sign"), [(30, 1), (10, 0), (1, -1)])
def test_surprise_is_positive_where_a_share_rose(now: int, sign: int) -> None:
    assert np.sign(surprise(now, 100, 30, 300)) * (abs(surprise(now, 100, 30, 300)) > 1e-9) == sign


def test_surprise_is_about_standard_normal_where_nothing_changed() -> None:
    random = np.random.default_rng(3)
    drawn = [surprise(int(random.binomial(200, 0.1)), 200, int(random.binomial(400, 0.1)), 400) for _ in range(2000)]
    assert np.std(drawn) == pytest.approx(1.0, abs=0.08)
    assert np.mean(np.abs(drawn) >= LEAST) < 0.01


def test_the_slice_that_grew_is_named_and_a_column_that_nobody_told_is_not() -> None:
    before = pd.DataFrame({"prediction": ["card", "fraud"] * 100, "group_age_band": ["18-34", "60+"] * 100})
    now = pd.DataFrame({"prediction": ["card"] * 90 + ["fraud"] * 10, "group_age_band": ["missing"] * 100})
    found = changed_slices(now, before)
    assert {(one["by"], one["name"]) for one in found} == {("prediction", "card"), ("prediction", "fraud")}
    assert (found[0]["now"], found[0]["before"]) == (0.9, 0.5)


def test_the_rows_that_tell_most_are_those_that_were_moved_and_no_two_alike() -> None:
    random = np.random.default_rng(0)
    before, now = random.standard_normal((200, 64)), random.standard_normal((60, 64))
    now[:20, :4] += 4.0
    now[1] = now[0]
    found = telling_rows(now, before)
    assert len(found) > 2 and set(found) <= set(range(20))
    assert not {0, 1} <= set(found)
