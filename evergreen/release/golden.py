"""Golden examples: a few texts with the very answers that the version gave them when it was judged.

They travel in the Bento, and a service that does not give them again does not become ready. Chosen from the recorded test
predictions; nothing is computed here. Knows nothing of the service that asks them.
"""

from collections.abc import Callable
from itertools import chain, zip_longest
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.errors import EvidenceError

MOST = 8
# How far a probability may lie from the recorded one. The same files on the same processor give it to the last bit: in fp32
# whatever shares a batch (375 texts in batches of 1 to 32), in int8 because each text runs by itself (up to 0.47 in a batch,
# which is why). Another instruction set rounds elsewhere: having ONNX Runtime compute the same graph in another order moved fp32
# by 4e-7, and int8, where a rounding may fall to the next whole number, by 3e-3 for 99 texts of 100 and by 0.06 at most.
# A wrong temperature, tokenizer or model moves far more, or the label.
TOLERANCES = {"fp32": 1e-4, "int8": 0.1}


def golden(predictions: pd.DataFrame, *, precision: str, max_characters: int, clean: Callable[[str], str]) -> dict[str, Any]:
    """Return the content of golden.json: at most 8 `examples` with text, label and probabilities as recorded, and the `tolerance`.

    `predictions` holds text, prediction, confidence, probabilities (in the artifact's label order). One row per predicted label as far
    as 8 rows go, labels in turn with their surest and their least sure row; then round again. A row whose label could
    change within the tolerance is passed over, as long as there are others. So is a text too long to be asked, and one that
    `clean`, what the service does to every text, would change once more: its answer would be another text's.
    The same predictions give the same examples. Raises EvidenceError when no row is left.
    """
    tolerance = TOLERANCES[precision]
    usable = predictions[predictions["text"].str.len().between(1, max_characters)]
    usable = usable[[clean(text) == text for text in usable["text"]]]
    if usable.empty:
        raise EvidenceError(
            f"every one of {len(predictions)} test texts has more than {max_characters} characters, or would change by being cleaned "
            "again, so that none can be asked of the service at its start; raise package.max_characters"
        )
    firm = usable[_lead(usable) > 2 * tolerance]
    usable = (usable if firm.empty else firm).sort_values(["confidence", "text"], kind="stable")
    chosen = _dealt([usable[usable["prediction"] == label] for label in _spread(sorted(set(usable["prediction"])))])
    columns = predictions.loc[chosen, ["text", "prediction", "probabilities"]].T.to_numpy()
    examples = [{"text": text, "label": label, "probabilities": list(map(float, row))} for text, label, row in zip(*columns, strict=True)]
    return {"examples": examples, "tolerance": tolerance}


def _lead(predictions: pd.DataFrame) -> NDArray[np.float64]:
    """Return by how much each row's best probability exceeds the next one."""
    ordered = np.sort(np.stack(predictions["probabilities"].tolist()), axis=1)
    return np.asarray(ordered[:, -1] - ordered[:, -2])


def _spread(labels: list[str]) -> list[str]:
    """Return at most 8 of the labels, evenly spaced."""
    if len(labels) <= MOST:
        return labels
    return [labels[place * len(labels) // MOST] for place in range(MOST)]


def _dealt(tables: list[pd.DataFrame]) -> list[Any]:
    """Return the index of at most 8 rows: of each table, sorted by confidence, its surest and its least sure, round by round.

    The first table begins with its surest row, the second with its least sure, and so on.
    """
    turns = [_from_both_ends(list(table.index), surest_first=place % 2 == 0) for place, table in enumerate(tables)]
    return [row for row in chain.from_iterable(zip_longest(*turns)) if row is not None][:MOST]


def _from_both_ends(rows: list[Any], *, surest_first: bool) -> list[Any]:
    """Return the last row, the first, the last but one …, or the other way round."""
    upwards, downwards = (rows, rows[::-1]) if not surest_first else (rows[::-1], rows)
    return [row for pair in zip(upwards, downwards, strict=True) for row in pair][: len(rows)]
