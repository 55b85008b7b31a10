import numpy as np
import pandas as pd
import pytest

from evergreen.data.records import read_table, write_table
from evergreen.drift.descriptors import describe
from evergreen.drift.reference import reference_summary, reference_table, sample
from tests.factories import LABELS, examples


def predicted(rows: int) -> pd.DataFrame:
    table = examples(rows)
    return table.assign(prediction=table["label"], confidence=0.75, probabilities=[np.full(4, 0.25)] * rows, model_version="v")


def kept(rows: int) -> pd.DataFrame:
    table = predicted(rows)
    return reference_table(table, describe(table["text"].tolist(), ()), np.ones((rows, 3)))


def test_a_sample_is_seeded_keeps_the_order_and_repeats_no_row() -> None:
    table = examples(50)
    some = sample(table, 20, seed=1)
    assert some["id"].is_monotonic_increasing and some["id"].is_unique and len(some) == 20
    assert some.equals(sample(table, 20, seed=1))
    assert not some.equals(sample(table, 20, seed=2))
    assert sample(table, 50, seed=1).equals(table)


def test_no_text_and_no_customer_is_kept() -> None:
    table = kept(30)
    assert not {"text", "customer"} & set(table.columns)
    assert {"id", "label", "group_age_band", "prediction", "confidence", "probabilities", "characters", "embedding"} <= set(table.columns)


def test_context_is_kept_and_summed_up() -> None:
    table = predicted(30).assign(context_channel=["chat", "email", "email"] * 10)
    kept = reference_table(table, describe(table["text"].tolist(), ()), np.ones((30, 3)))
    shares = reference_summary(kept, ["words"], labels=LABELS, model_version="v")["shares"]["context_channel"]
    assert shares == {"chat": pytest.approx(1 / 3), "email": pytest.approx(2 / 3)}


def test_the_table_survives_parquet_with_its_vectors(tmp_path) -> None:
    write_table(kept(30), tmp_path / "reference.parquet")
    again = read_table(tmp_path / "reference.parquet")
    assert np.stack(again["embedding"]).shape == (30, 3)
    assert np.stack(again["probabilities"]).shape == (30, 4)


def test_shares_sum_to_one_and_bins_hold_every_row() -> None:
    table = kept(200)
    summary = reference_summary(table, ["characters", "digit_share"], labels=LABELS, model_version="v")
    assert (summary["rows"], summary["embedding_size"], summary["mean_confidence"]) == (200, 3, 0.75)
    for shares in summary["shares"].values():
        assert sum(shares.values()) == pytest.approx(1)
    characters = summary["descriptors"]["characters"]
    assert len(characters["shares"]) == len(characters["edges"]) + 1
    assert sum(characters["shares"]) == pytest.approx(1)
    assert min(characters["shares"]) > 0
    below = (table["characters"] < characters["edges"][0]).mean()
    assert characters["shares"][0] == pytest.approx(below)


def test_a_constant_descriptor_has_one_bin() -> None:
    summary = reference_summary(kept(40), ["digit_share"], labels=LABELS, model_version="v")
    assert summary["descriptors"]["digit_share"] == {"edges": [], "shares": [1.0]}
