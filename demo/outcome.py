"""Whether it was worth it: the old and the new model on the same later messages, none of which either was trained on."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from demo.customers import Sent
from evergreen.evaluation.challenge import Bout, Terms, figures

MARGIN = 0.05  # of accuracy, as gate.rules.no_worse has it; for the sentence on power
TERMS = Terms(resamples=10_000, level=0.95, seed=17, margin=MARGIN)


def compared(
    sent: Sequence[Sent], old: Mapping[str, str], new: Mapping[str, str], groups: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give (name, figures) of all rows first, then of each value of each group; `old` and `new` are the models' answers by request id."""
    both = [item for item in sent if item.request_id in old and item.request_id in new]
    before_N, after_N = (np.array([said[item.request_id] == item.message.team for item in both], bool) for said in (old, new))
    masks = {"all": np.ones(len(both), bool)}
    for name in groups:
        values = np.array([item.message.groups[name] for item in both])
        masks |= {f"{name.replace('_', ' ')}: {value}": values == value for value in sorted(set(values))}
    for name, mask_N in masks.items():
        found = figures(Bout(before_N[mask_N], after_N[mask_N], None), terms=TERMS)
        if found is not None:
            yield name, found
