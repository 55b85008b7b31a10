"""Questions to a database that may hang: asked in a thread of their own, and given up in time.

A driver waits for ever for a server that neither answers nor breaks off; whoever asks must not. Knows nothing of what is asked.
"""

import time
from collections.abc import Callable
from threading import BoundedSemaphore, Thread
from typing import TypeVar

Found = TypeVar("Found")

ANSWER_SECONDS = 3.0  # that a question waits for its answer
AT_A_TIME = 4  # the pool of connections holds more, so that one is left for the rows


class Questions:
    """A few questions at a time."""

    def __init__(self, note: Callable[[Exception], None]) -> None:
        self._note, self._askers = note, BoundedSemaphore(AT_A_TIME)

    def ask(self, question: Callable[[], Found]) -> Found | None:
        """Return the answer, or None where it failed (which is noted) or took too long."""
        if not self._askers.acquire(timeout=ANSWER_SECONDS):
            return None
        answer: list[Found] = []

        def ask() -> None:
            try:
                answer.append(question())
            except Exception as fault:
                self._note(fault)
            finally:
                self._askers.release()

        asker = Thread(target=ask, name="request log, a question", daemon=True)
        asker.start()
        asker.join(ANSWER_SECONDS)
        return answer[0] if answer else None

    def close(self) -> None:
        """Wait for those that are still asking, but not longer than for an answer. No question is asked after this."""
        end = time.monotonic() + ANSWER_SECONDS
        for _ in range(AT_A_TIME):
            self._askers.acquire(timeout=max(0.0, end - time.monotonic()))
