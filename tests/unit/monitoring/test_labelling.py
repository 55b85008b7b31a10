"""The batch to label holds what would teach most, each text once, and nothing that is labelled already."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from evergreen.monitoring.watch.labelling import batch, write_batch


def traffic(rows: int) -> pd.DataFrame:
    content = {"id": [f"{row:032x}" for row in range(rows)], "text": [f"text {row}" for row in range(rows)], "prediction": "card"}
    return pd.DataFrame({**content, "label": pd.Series([None] * rows, dtype="object"), "confidence": 0.9})


def arrays(rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "probabilities": random.dirichlet([8, 1, 1], rows),
        "embeddings": random.standard_normal((rows, 16)),
        "reference": random.standard_normal((200, 16)),
    }


def test_torn_and_novel_texts_come_first() -> None:
    table, made = traffic(100), arrays(100)
    made["reference"][:, 0] = 0.0  # nothing in the reference points along the first direction
    made["probabilities"][7] = [0.5, 0.49, 0.01]
    made["embeddings"][7] = np.eye(16)[0]
    found = batch(table, **made, most=10, seed=1)
    assert found["id"].iloc[0] == table["id"][7] and found["why"].iloc[0] == "uncertain and novel"
    assert len(found) == 10 and found["id"].is_unique


def test_labelled_rows_and_repeats_are_left_out() -> None:
    table = traffic(30)
    table.loc[:9, "label"] = "card"
    table.loc[20:29, "text"] = "the same text"
    found = batch(table, **arrays(30), most=30, seed=1)
    assert set(found["id"]) == set(table["id"][10:21])


def test_a_batch_is_spread_over_different_texts() -> None:
    """Of 3 clusters of equally uncertain texts every one is asked about before any twice."""
    random = np.random.default_rng(1)
    centres = np.eye(16)[:3] * 10
    embeddings = np.concatenate([centre + 0.01 * random.standard_normal((20, 16)) for centre in centres])
    made = {**arrays(60), "embeddings": embeddings, "probabilities": np.full((60, 2), 0.5)}
    found = batch(traffic(60), **made, most=3, seed=1)
    assert {int(name, 16) // 20 for name in found["id"]} == {0, 1, 2}


def test_every_fourth_text_is_drawn_at_random_from_all_that_could_be_asked_for() -> None:
    table, made = traffic(60), arrays(60)
    table.loc[50:, "label"] = "card"
    drawn: Counter[int] = Counter()
    for seed in range(200):
        found = batch(table, **made, most=20, seed=seed)
        assert found["id"].is_unique and len(found) == 20
        assert [place for place, why in enumerate(found["why"]) if why == "drawn at random"] == [3, 7, 11, 15, 19]
        drawn.update(int(name, 16) for name in found["id"][3::4])
    assert set(drawn) == set(range(50)) and sum(drawn.values()) == 1000
    assert max(drawn.values()) < 20 + 5 * np.sqrt(20)  # the most telling text no more often than any other


def test_with_nothing_to_ask_the_batch_is_empty() -> None:
    table = traffic(5).assign(label="card")
    assert batch(table, **arrays(5), most=10, seed=1).empty


def test_a_text_that_a_spreadsheet_would_run_is_written_as_text(tmp_path: Path) -> None:
    table = traffic(3)
    table.loc[0, "text"] = '=HYPERLINK("http://evil")'
    found = batch(table, **arrays(3), most=3, seed=1)
    write_batch(found, tmp_path / "batches" / "one.csv")
    path = tmp_path / "batches" / "one.csv"
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    assert {row["text"] for row in rows} == {'\'=HYPERLINK("http://evil")', "text 1", "text 2"}
    assert {row["label"] for row in rows} == {""} and len(rows) == 3
    assert path.stat().st_mode & 0o077 == 0 and [item.name for item in path.parent.iterdir()] == ["one.csv"]
