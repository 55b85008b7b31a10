"""Texts that traffic repeats are left out of both sides; all others stay."""

from dataclasses import replace

import numpy as np
import pandas as pd

from evergreen.drift.repeats import unrepeated
from evergreen.drift.rows import Seen, distinct
from tests.drift_factories import seen_of


def met(*texts: str, again: tuple[str, ...] = ()) -> Seen:
    """What there is to see of a few texts, some of which came more than once."""
    return replace(seen_of(pd.DataFrame({"text": texts}), seed=len(texts)), repeated=np.isin(texts, again))


def lengths(rows: Seen) -> list[int]:
    return rows.descriptors["characters"].astype(int).tolist()


def test_what_came_twice_in_one_window_or_in_two_is_left_out_everywhere() -> None:
    known = met("hi", "thanks", "a lost card", "my savings are gone")
    first, second = met("hi", "thanks", "an old text here", again=("hi",)), met("thanks", "a newer text is here")
    kept, windows = unrepeated(known, [first, second])
    assert lengths(kept) == [len("a lost card"), len("my savings are gone")]
    assert [lengths(rows) for rows in windows] == [[len("an old text here")], [len("a newer text is here")]]


def test_where_nothing_comes_twice_nothing_is_left_out() -> None:
    known, window = met("hi", "a lost card"), met("hi", "a stolen card")
    assert unrepeated(known, [window]) == (known, [window])


def test_a_window_knows_which_of_its_texts_came_more_than_once() -> None:
    table = distinct(pd.DataFrame({"text": ["hi", "a lost card", "hi", "hi"]}))
    assert (table["text"].tolist(), table["repeated"].tolist()) == (["hi", "a lost card"], [True, False])
