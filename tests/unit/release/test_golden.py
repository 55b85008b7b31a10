"""Golden examples are chosen from what the model said when it was judged."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from evergreen.errors import EvidenceError
from evergreen.release.golden import golden


def said(rows: list[tuple[str, str, float]], labels: tuple[str, ...] = ("a", "b", "c")) -> pd.DataFrame:
    """Return predictions of (text, label, confidence); what is left goes to the next label alone."""
    table = pd.DataFrame(rows, columns=["text", "prediction", "confidence"])
    return table.assign(
        probabilities=[probabilities(labels, label, sure) for label, sure in zip(table["prediction"], table["confidence"], strict=True)]
    )


def probabilities(labels: tuple[str, ...], label: str, confidence: float) -> np.ndarray:
    row = np.zeros(len(labels))
    place = labels.index(label)
    row[place], row[(place + 1) % len(labels)] = confidence, 1 - confidence
    return row


def chosen(table: pd.DataFrame, *, precision: str = "fp32", most: int = 100, clean: Callable[[str], str] = str) -> list[str]:
    return [example["text"] for example in golden(table, precision=precision, max_characters=most, clean=clean)["examples"]]


def test_each_label_has_an_example_and_sure_ones_alternate_with_unsure_ones() -> None:
    table = said([(f"{label}{sure}", label, sure / 10) for label in "abc" for sure in (6, 7, 8, 9)])
    assert chosen(table) == ["a9", "b6", "c9", "a6", "b9", "c6", "a8", "b7"]


def test_more_labels_than_examples_are_spread_evenly() -> None:
    labels = tuple(f"label{number:02d}" for number in range(77))
    table = said([(label, label, 0.9) for label in labels], labels)
    assert chosen(table) == [labels[place * 77 // 8] for place in range(8)]


def test_numbers_stand_as_recorded_to_the_last_bit() -> None:
    table = said([("one", "a", 0.1 + 0.7)])
    (example,) = golden(table, precision="fp32", max_characters=10, clean=str)["examples"]
    assert example == {"text": "one", "label": "a", "probabilities": table["probabilities"][0].tolist()}


def test_the_order_of_the_rows_does_not_matter() -> None:
    table = said([(f"{label}{sure}", label, sure / 100) for label in "abc" for sure in range(55, 95)])
    assert chosen(table.sample(frac=1, random_state=3)) == chosen(table)


def test_a_row_whose_label_could_change_within_the_tolerance_is_passed_over_while_there_are_others() -> None:
    table = said([("torn", "a", 0.55), ("firm", "b", 0.7)])
    assert chosen(table, precision="int8") == ["firm"]
    assert chosen(table, precision="fp32") == ["torn", "firm"]
    assert chosen(table.head(1), precision="int8") == ["torn"]


def test_a_text_too_long_to_be_asked_is_no_example() -> None:
    table = said([("long " * 9, "a", 0.9), ("short", "a", 0.8)])
    assert chosen(table, most=10) == ["short"]
    with pytest.raises(EvidenceError, match=r"raise package\.max_characters"):
        chosen(table, most=3)


def test_a_text_that_cleaning_would_change_once_more_is_no_example() -> None:
    table = said([("changes", "a", 0.9), ("stays", "a", 0.8)])
    assert chosen(table, clean=lambda text: text.replace("changes", "changed")) == ["stays"]
    with pytest.raises(EvidenceError, match="would change by being cleaned again"):
        chosen(table, clean=str.upper)
