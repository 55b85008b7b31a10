"""Whether what the model meets has changed: a fixed battery of two-sample tests, each with its method, reference and level.

Two references, because the model has seen the train rows: what was fitted on train (its outputs, its embeddings, the
vocabulary) is compared with held-out rows, everything else with train (docs/decisions/drift-references.md).
Knows nothing of files, nor of what anyone does about a drift.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.data.records import context_columns, group_columns, group_name
from evergreen.drift.two_sample import Outcome, g_test, kolmogorov_smirnov, mean_embedding, softmax_shift

Kind = Literal["descriptor", "prediction", "label", "group", "context", "embedding"]
FITTED_DESCRIPTORS = ("unknown_word_share",)  # lower on train by construction: the vocabulary is train's


@dataclass(frozen=True)
class Rows:
    """N rows as the tests see them: `descriptors` (N, 9), `labels` (N,), `groups` and `context` by name.

    Where the model ran, `probabilities` is (N, labels), `embeddings` (N, size).
    """

    descriptors: pd.DataFrame
    labels: NDArray[Any]
    groups: dict[str, NDArray[Any]]
    context: dict[str, NDArray[Any]]
    probabilities: NDArray[Any] | None = None
    embeddings: NDArray[Any] | None = None

    @classmethod
    def of(cls, table: pd.DataFrame, descriptors: pd.DataFrame, **outputs: NDArray[Any]) -> Self:
        """Take labels, groups and context from a table of examples."""
        groups = {group_name(column): table[column].to_numpy() for column in group_columns(table)}
        context = {group_name(column): table[column].to_numpy() for column in context_columns(table)}
        return cls(descriptors=descriptors, labels=table["label"].to_numpy(), groups=groups, context=context, **outputs)


@dataclass(frozen=True)
class _Test:
    name: str
    kind: Kind
    reference: Literal["train", "held-out"]
    outcome: Outcome


def compare(*, current: Rows, train: Rows, heldout: Rows, labels: Sequence[str], level: float, seed: int) -> dict[str, Any]:
    """Test current rows against their references; a test alarms where its p-value is below level / number of tests.

    `current` and `heldout` need the model's outputs. `level` is the chance (0-1) of any alarm where nothing has changed
    (Bonferroni). The result holds `reference`, `current`, `rows`, `level`, `corrected_level`, `correction`, `tests` and
    `drifted` (how many). A test with too few rows has a null p-value, does not alarm, and says so in its `note`.
    """
    tests = [
        *_descriptor_tests(current, train, heldout),
        *_output_tests(current, heldout, labels),
        _Test("label", "label", "train", g_test(train.labels, current.labels)),
        *(_Test(name, "group", "train", g_test(train.groups[name], values)) for name, values in current.groups.items()),
        *(_Test(name, "context", "train", g_test(train.context[name], values)) for name, values in current.context.items()),
    ]
    corrected = level / (len(tests) + 1)
    tests.append(_Test("embedding", "embedding", "held-out", _embedding_test(current, heldout, corrected, seed)))
    entries = [_entry(test, corrected) for test in tests]
    return {
        "reference": "train",
        "current": "test",
        "rows": {"reference": len(train.labels), "current": len(current.labels), "heldout": len(heldout.labels)},
        "level": level,
        "corrected_level": corrected,
        "correction": f"Bonferroni over {len(tests)} tests",
        "tests": entries,
        "drifted": sum(entry["drifted"] for entry in entries),
    }


def _descriptor_tests(current: Rows, train: Rows, heldout: Rows) -> list[_Test]:
    tests = []
    for name in current.descriptors.columns:
        fitted = name in FITTED_DESCRIPTORS
        against = (heldout if fitted else train).descriptors[name].to_numpy()
        outcome = kolmogorov_smirnov(against, current.descriptors[name].to_numpy())
        tests.append(_Test(name, "descriptor", "held-out" if fitted else "train", outcome))
    return tests


def _output_tests(current: Rows, heldout: Rows, labels: Sequence[str]) -> list[_Test]:
    before, now = _outputs(heldout), _outputs(current)
    names = np.array(list(labels), dtype=object)
    return [
        _Test("confidence", "prediction", "held-out", kolmogorov_smirnov(before.max(axis=1), now.max(axis=1))),
        _Test("probabilities", "prediction", "held-out", softmax_shift(before, now, labels)),
        _Test("prediction", "prediction", "held-out", g_test(names[before.argmax(axis=1)], names[now.argmax(axis=1)])),
    ]


def _embedding_test(current: Rows, heldout: Rows, corrected: float, seed: int) -> Outcome:
    if current.embeddings is None or heldout.embeddings is None:
        raise ValueError("current and held-out rows need embeddings")
    return mean_embedding(heldout.embeddings, current.embeddings, smallest=corrected, seed=seed)


def _outputs(rows: Rows) -> NDArray[Any]:
    if rows.probabilities is None:
        raise ValueError("current and held-out rows need probabilities")
    return rows.probabilities


def _entry(test: _Test, corrected: float) -> dict[str, Any]:
    """Return a test as drift.json tells it."""
    outcome = test.outcome
    return {
        "name": test.name,
        "kind": test.kind,
        "method": outcome.method,
        "reference": test.reference,
        "statistic": outcome.statistic,
        "p_value": outcome.p_value,
        "drifted": outcome.p_value is not None and outcome.p_value < corrected,
        "note": outcome.note,
    }
