"""The parts that a run is made of: done plainly, or as tasks of Prefect (flows/tasks.py). Whoever starts a run says which."""

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Step(Protocol):
    """Does one part of a run by its name."""

    def __call__(self, name: str, work: Callable[[], T]) -> T:
        """Return what the part returns."""


def plainly(name: str, work: Callable[[], T]) -> T:
    """Do a part, and nothing more."""
    return work()
