"""The batch worth labelling: the texts of a window that would teach most, with the reasons, as a file that a person fills in.

A text is worth a label where the model is torn between two answers (uncertain), where it is unlike all that the reference holds (novel),
and where no text in the batch so far is like it (diverse). One row in four is drawn at random from all that could be asked for: of texts
that the model is sure of and has met before a batch would otherwise say nothing, and measured quality stands on those, too (quality.py
weighs labels by confidence, which takes some of every confidence). Works on arrays and tables; knows nothing of logs and decisions.

Sources: Settles, Active learning literature survey (2009), for the margin; Sener and Savarese, Active learning for convolutional neural
networks: a core-set approach (ICLR 2018), for the greedy choice of rows far from one another.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

RANDOM_EVERY = 4  # of so many rows of a batch the last is drawn at random
NEIGHBOURS = 5  # of a text in the reference, whose mean distance is its novelty
PIECE = 500  # rows compared at a time
DANGEROUS = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet runs a cell that begins so

Floats = NDArray[np.float64]


def batch(
    traffic: pd.DataFrame, *, probabilities: NDArray[Any], embeddings: NDArray[Any], reference: NDArray[Any], most: int, seed: int
) -> pd.DataFrame:
    """Return at most `most` unlabelled rows of a window (N), the most telling first, with `uncertain`, `novel` (both 0-1) and `why`.

    Every fourth is one of a simple random sample of the unlabelled texts, so that whoever fills in only the first rows labels some.

    `probabilities` is (N, labels), `embeddings` (N, size), `reference` the reference's embeddings (M, size). Equal texts count once.
    """
    candidates = np.flatnonzero(traffic["label"].isna().to_numpy() & ~traffic["text"].duplicated().to_numpy())
    if not len(candidates):
        return traffic.iloc[:0].assign(uncertain=0.0, novel=0.0, why="")
    top = np.sort(probabilities[candidates], axis=1)
    uncertain = _ranks(-(top[:, -1] - top[:, -2]) if top.shape[1] > 1 else np.zeros(len(candidates)))
    novel = _ranks(_novelty(embeddings[candidates], reference))
    drawn = np.random.default_rng(seed).permutation(len(candidates))[: min(most, len(candidates)) // RANDOM_EVERY].tolist()
    telling = _spread((uncertain + novel) / 2, _unit(embeddings[candidates]), most - len(drawn), but=drawn)
    chosen = _mixed(telling, drawn)
    found = traffic.iloc[candidates[chosen]].reset_index(drop=True)
    why = ["drawn at random" if row in drawn else _why(uncertain[row], novel[row]) for row in chosen]
    return found.assign(uncertain=uncertain[chosen].round(3), novel=novel[chosen].round(3), why=why)


def write_batch(rows: pd.DataFrame, path: Path) -> None:
    """Write a batch as CSV, for its owner alone, all of it or nothing: id, text, an empty label to fill in, and what the model said.

    A text that a spreadsheet would take for a formula gets an apostrophe in front; labels go back by id, so no text is read again.
    """
    shown = pd.DataFrame(
        {
            "id": rows["id"],
            "text": [f"'{text}" if text.startswith(DANGEROUS) else text for text in rows["text"]],
            "label": "",
            "prediction": rows["prediction"],
            "confidence": rows["confidence"].round(4),
            "why": rows["why"],
        }
    )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.partial")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8", newline="") as file:
        shown.to_csv(file, index=False)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _mixed(telling: list[int], drawn: list[int]) -> list[int]:
    """Return the rows with one that was drawn after every three that are telling."""
    mixed: list[int] = []
    for place, row in enumerate(telling):
        mixed.append(row)
        if place % (RANDOM_EVERY - 1) == RANDOM_EVERY - 2:
            mixed.extend(drawn[place // (RANDOM_EVERY - 1) :][:1])
    return mixed


def _spread(worth_N: Floats, unit_NE: Floats, most: int, but: list[int]) -> list[int]:
    """Choose greedily by worth times distance to what is chosen already; the rows `but` are none of them."""
    distance_N = np.ones(len(worth_N))
    chosen: list[int] = []
    for _ in range(min(most, len(worth_N) - len(but))):
        gain_N = worth_N * distance_N
        gain_N[[*chosen, *but]] = -1.0
        chosen.append(int(gain_N.argmax()))
        distance_N = np.minimum(distance_N, np.maximum(0.0, 1 - unit_NE @ unit_NE[chosen[-1]]))
    return chosen


def _novelty(embeddings: NDArray[Any], reference: NDArray[Any]) -> Floats:
    """Return each row's mean cosine distance to its nearest neighbours in the reference."""
    if not len(reference):
        return np.zeros(len(embeddings))
    known, near = _unit(reference), min(NEIGHBOURS, len(reference))
    found = []
    for start in range(0, len(embeddings), PIECE):
        distances = 1 - _unit(embeddings[start : start + PIECE]) @ known.T
        found.append(np.partition(distances, near - 1, axis=1)[:, :near].mean(axis=1))
    return np.concatenate(found)


def _unit(rows: NDArray[Any]) -> Floats:
    rows = np.asarray(rows, np.float64)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def _ranks(values: Floats) -> Floats:
    """Return the share of values that each one reaches, above 0 to 1; equal values share the highest."""
    return np.asarray(np.searchsorted(np.sort(values), values, side="right") / len(values))


def _why(uncertain: float, novel: float) -> str:
    said = [word for word, value in (("uncertain", uncertain), ("novel", novel)) if value >= 0.75]
    return " and ".join(said) or "fills a gap"
