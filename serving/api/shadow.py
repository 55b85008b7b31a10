"""The challenger in shadow: it judges what the champion has answered, later and beside it, and nobody gets to see what it says.

It never delays an answer and never fails one; what it cannot keep up with is dropped and counted.
"""

import asyncio
import time
from collections.abc import Sequence

from evergreen.monitoring.log.records import Answered
from serving.api.ports import Metrics, Recorder
from serving.api.rows import record
from serving.model.backend import Model, NotReady

TEXTS = 128  # in flight, at most
SECONDS = 30.0  # until a shadow answer is given up


class Shadow:
    """Sends texts to a challenger in the background, at most TEXTS at a time."""

    def __init__(self, recorder: Recorder, metrics: Metrics, most: int = TEXTS, seconds: float = SECONDS) -> None:
        self.recorder, self.metrics, self.most, self.seconds = recorder, metrics, most, seconds
        self.texts = 0
        self._tasks: set[asyncio.Task[None]] = set()  # a task that nobody holds may be collected before it ends

    def send(self, model: Model, texts: Sequence[str], answered: Sequence[Answered]) -> None:
        """Have the model judge what was answered by these rows; returns at once and never raises."""
        if self.texts + len(texts) > self.most:
            self.metrics.shadow_lost(_version(model), len(texts), "busy")
            return
        self.texts += len(texts)
        task = asyncio.get_running_loop().create_task(self._judge(model, texts, answered))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Wait for what is in flight."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _judge(self, model: Model, texts: Sequence[str], answered: Sequence[Answered]) -> None:
        start = time.perf_counter()
        try:
            about = model.about
            async with asyncio.timeout(self.seconds):
                judged = await model.judge(texts)
            seconds = time.perf_counter() - start
            rows = [
                record(
                    said,
                    about,
                    request_id=row.request_id,
                    role="shadow",
                    now=row.time,
                    key_id=row.key_id,
                    seconds=seconds,
                    groups=row.groups,
                )
                for said, row in zip(judged, answered, strict=True)
            ]
        except Exception:  # whatever is wrong with a challenger, the champion's callers must not notice; the count is shown
            self.metrics.shadow_lost(_version(model), len(texts), "failed")
            return
        finally:
            self.texts -= len(texts)
        self.recorder.answered(rows)
        for new, old in zip(rows, answered, strict=True):
            self.metrics.answered(about.version, "shadow", new.prediction, new.needs_person, seconds)
            self.metrics.shadow(about.version, new.prediction == old.prediction)


def _version(model: Model) -> str:
    try:
        return model.about.version
    except NotReady:
        return "unknown"
