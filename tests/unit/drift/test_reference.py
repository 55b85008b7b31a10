import numpy as np
import pandas as pd
import pytest

from evergreen.data.records import read_table, write_table
from evergreen.drift.reference import Reference, reference_summary, reference_table, sample
from evergreen.errors import EvidenceError
from tests.drift_factories import reference, seen_of
from tests.factories import LABELS, examples


def predicted(rows: int) -> pd.DataFrame:
    table = examples(rows)
    return table.assign(prediction=table["label"], confidence=0.75, probabilities=[np.full(4, 0.25)] * rows, model_version="v")


def kept(rows: int) -> pd.DataFrame:
    table = predicted(rows)
    return reference_table(table, seen_of(table))


def test_a_sample_is_seeded_keeps_the_order_and_repeats_no_row() -> None:
    table = examples(50)
    some = sample(table, 20, seed=1)
    assert some["id"].is_monotonic_increasing and some["id"].is_unique and len(some) == 20
    assert some.equals(sample(table, 20, seed=1))
    assert not some.equals(sample(table, 20, seed=2))
    assert sample(table, 50, seed=1).equals(table)


def test_what_was_kept_is_loaded_again_and_its_digest_names_the_content(tmp_path) -> None:
    first, second, other = (reference(tmp_path / name, rows=60, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert (first.model_version, first.labels, len(first.rows), len(first.truth)) == ("v1", LABELS, 60, 60)
    assert first.categories == ["group_age_band", "group_first_language"]
    assert first.train.texts == 300 and first.train.words["please"] > 10
    assert first.digest == second.digest != other.digest
    assert first.calibration.sizes[0].rows == 30


@pytest.mark.parametrize("name", ["reference.parquet", "words.json", "calibration.json"])
def test_a_reference_without_one_of_its_files_is_refused_with_what_to_do(tmp_path, name) -> None:
    reference(tmp_path / "kept", rows=40)
    (tmp_path / "kept" / name).unlink()
    with pytest.raises(EvidenceError, match=rf"{name} is missing; run `dvc repro snapshot`"):
        Reference.load(tmp_path / "kept")


def test_no_text_and_no_customer_is_kept() -> None:
    table = kept(30)
    assert not {"text", "customer"} & set(table.columns)
    assert {"id", "label", "group_age_band", "prediction", "confidence", "probabilities", "characters", "embedding"} <= set(table.columns)


def test_context_is_kept_and_summed_up() -> None:
    table = predicted(30).assign(context_channel=["chat", "email", "email"] * 10)
    kept_table = reference_table(table, seen_of(table))
    shares = reference_summary(kept_table, ["words"], labels=LABELS, model_version="v")["shares"]["context_channel"]
    assert shares == {"chat": pytest.approx(1 / 3), "email": pytest.approx(2 / 3)}


def test_the_table_survives_parquet_with_its_vectors(tmp_path) -> None:
    write_table(kept(30), tmp_path / "reference.parquet")
    again = read_table(tmp_path / "reference.parquet")
    assert np.stack(again["embedding"]).shape == (30, 8)
    assert np.stack(again["probabilities"]).shape == (30, 4)


def test_shares_sum_to_one_and_bins_hold_every_row() -> None:
    table = kept(200)
    summary = reference_summary(table, ["characters", "digit_share"], labels=LABELS, model_version="v")
    assert (summary["rows"], summary["embedding_size"], summary["mean_confidence"]) == (200, 8, 0.75)
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
