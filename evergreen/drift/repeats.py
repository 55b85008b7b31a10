"""Texts that traffic repeats ("hi", "thanks"), left out of both sides of a comparison.

The reference holds each text once, however often people sent it. In traffic a frequent text comes in every window, so that frequent
texts, which are short and alike, would be a far larger part of a small window than of the reference, and of windows put together yet
another. What traffic has had more than once, in one window or in several, is therefore compared with nothing, and is taken out of the
reference as well. Where no text comes twice nothing is left out, and the permutation tests are exact; where texts do, both sides lose
the frequent ones alike, but those that came about once in all windows together not quite.

A text is known again by its words and its descriptors; no text is needed.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evergreen.drift.rows import Seen


def unrepeated(reference: Seen, windows: Sequence[Seen]) -> tuple[Seen, list[Seen]]:
    """Return the reference's rows and those of some windows (each text once) without the texts that came more than once in them."""
    keys = [_keys(window) for window in windows]
    times = Counter(key for window in keys for key in set(window))
    often = {key for key, number in times.items() if number > 1}
    often.update(key for window, found in zip(windows, keys, strict=True) for key, again in zip(found, window.again, strict=True) if again)
    if not often:
        return reference, list(windows)
    return _without(reference, _keys(reference), often), [
        _without(window, found, often) for window, found in zip(windows, keys, strict=True)
    ]


def _keys(rows: Seen) -> list[bytes]:
    """Return for each row what tells its text from others: descriptors and the sketch of its words."""
    descriptors, sketches = rows.descriptors.to_numpy(np.float64), np.asarray(rows.sketches, np.float32)
    return [first.tobytes() + second.tobytes() for first, second in zip(descriptors, sketches, strict=True)]


def _without(rows: Seen, keys: Sequence[bytes], often: set[bytes]) -> Seen:
    chosen: NDArray[np.bool_] = np.array([key not in often for key in keys], bool)
    return rows if chosen.all() else rows.take(chosen)
