"""The line of texts before the model: whose turn it is, and which others share the run.

A run costs by its longest text times their number, so only texts of like length go together, and never more tokens than
keep the processor's caches warm. Knows nothing of threads, of text, or of a model.
"""

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Generic, TypeVar

Owner = TypeVar("Owner")

# Measured with the default model on AVX-512: below 200 tokens a run wastes CPU, above 500 too, and later ones wait longer.
BUDGET = 256  # tokens of a run of several texts, padding included
PADDING = 2  # a text joins one longer or shorter by this many tokens and an eighth of its length


@dataclass(frozen=True, slots=True, eq=False)
class Waiting(Generic[Owner]):
    """A text in line: who asked for it, at which place of the request, and what the model is to be given."""

    owner: Owner
    place: int
    text: str
    tokens: Sequence[int]


class Line(Generic[Owner]):
    """Texts in the order of their turn; `alone` forbids sharing.

    The clock of the line is the work (in tokens) that it has handed out. A text's turn comes by the clock at its arrival,
    plus the work of the same request that stands before it: a long list does not keep single texts of others waiting, nor
    do they keep it from its share.
    """

    def __init__(self, *, alone: bool, budget: int = BUDGET) -> None:
        self._alone, self._budget = alone, budget
        self._clock = 0
        self._number = count()
        self._line: list[tuple[int, int, Waiting[Owner]]] = []

    def __len__(self) -> int:
        """Return how many texts wait."""
        return len(self._line)

    def add(self, texts: Sequence[Waiting[Owner]]) -> None:
        """Let the texts of one request join."""
        turn = self._clock
        for text in texts:
            insort(self._line, (turn, next(self._number), text))
            turn += len(text.tokens)

    def take(self, idle: int = 0) -> list[Waiting[Owner]]:
        """Take the text whose turn it is and others to share its run, leaving their share to `idle` others who could run now."""
        if not self._line:
            return []
        first = self._line[0][2]
        most = 1 if self._alone else -(-len(self._line) // (idle + 1))
        taken: list[Waiting[Owner]] = []
        left, width = [], len(first.tokens)
        room = PADDING + width // 8
        for entry in self._line:
            length = len(entry[2].tokens)
            wider = max(width, length)
            if not taken or (len(taken) < most and abs(length - len(first.tokens)) <= room and (len(taken) + 1) * wider <= self._budget):
                taken.append(entry[2])
                width = wider
            else:
                left.append(entry)
        self._line = left
        self._clock += sum(len(text.tokens) for text in taken)
        return taken

    def drop(self, owner: Owner) -> None:
        """Forget the texts of an owner who no longer waits."""
        self._line = [entry for entry in self._line if entry[2].owner is not owner]

    def take_all(self) -> list[Waiting[Owner]]:
        """Take every text, in the order of their turn."""
        taken = [entry[2] for entry in self._line]
        self._line = []
        return taken
