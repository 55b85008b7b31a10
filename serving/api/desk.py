"""The work behind a request: choose the model, have it judge, put the answer on record, and only then give it.

Knows nothing of HTTP, of keys' secrets, or of where a model runs.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256

from evergreen.data.personal_data import KINDS
from evergreen.data.text import clean_text
from evergreen.monitoring.log.records import Answered, Labelled, Role, new_id
from serving.api.answers_cache import AnswersCache
from serving.api.exchange import Answer, Body, Feedback, Thanks
from serving.api.ports import Metrics, Recorder
from serving.api.rows import prediction, record
from serving.api.shadow import Shadow
from serving.model.backend import About, Challenger, Judged, Model, Models, NotReady, UnusableText

OnRecord = Callable[[Role, About, list[Judged]], list[tuple[Answered, Judged]]]
CANARY_SECONDS = 2.0


class LabelLost(RuntimeError):
    """A label could not be kept: neither disk nor memory takes more."""


class UnknownRequest(LookupError):
    """Feedback on an answer that is not on record."""


class UnknownLabel(ValueError):
    """Feedback with a label that no live model knows; `choices` are those that one does."""

    def __init__(self, choices: Sequence[str]) -> None:
        self.choices = tuple(choices)
        super().__init__("not a label of the model")


class Desk:
    """Answers requests with the live models.

    `cache` is the number of identical texts to remember, 0 for none. A canary that has not answered after `canary_seconds`
    is given up, and the champion answers.
    """

    def __init__(
        self, models: Models, recorder: Recorder, metrics: Metrics, *, cache: int = 0, canary_seconds: float = CANARY_SECONDS
    ) -> None:
        self.models, self.recorder, self.metrics, self.canary_seconds = models, recorder, metrics, canary_seconds
        self.cache = AnswersCache(cache)
        self.shadow = Shadow(recorder, metrics)

    async def predict(self, request: Body, key_id: str) -> Answer:
        """Answer each text, in their order. The answer is on record when this returns.

        Raises UnusableText, and NotReady when no model can answer.
        """
        start, now = time.perf_counter(), time.time()
        texts = request.asked
        groups = masked(request.groups)
        challenger = self.models.challenger

        def on_record(role: Role, about: About, judged: list[Judged]) -> list[tuple[Answered, Judged]]:
            seconds = time.perf_counter() - start
            return [
                (record(said, about, role=role, now=now, key_id=key_id, seconds=seconds, groups=groups, request_id=new_id(now)), said)
                for said in judged
            ]

        answered = await self._judge(texts, challenger, key_id, on_record)
        rows = [row for row, _ in answered]
        self.recorder.answered(rows)
        for row, said in answered:
            self.metrics.answered(row.model_version, row.role, row.prediction, row.needs_person, row.latency_ms / 1000)
            self.metrics.batch(row.model_version, said.batch)
        if challenger is not None and challenger.mode == "shadow":
            self.shadow.send(challenger.model, texts, rows)
        return Answer(predictions=[prediction(row) for row in rows])

    async def feedback(self, told: Feedback, key_id: str) -> Thanks:
        """Put the right label of an earlier answer on record. Raises UnknownRequest, UnknownLabel, LabelLost and NotReady."""
        labels = self._labels()
        if told.label not in labels:
            raise UnknownLabel(labels)
        if await asyncio.to_thread(self.recorder.knows, told.request_id) is False:  # None: nobody can say, so it is taken on trust
            raise UnknownRequest
        row = Labelled(feedback_id=new_id(), request_id=told.request_id, label=told.label, time=time.time(), key_id=key_id)
        status = await asyncio.to_thread(self.recorder.labelled, row)
        if status is None:
            raise LabelLost
        self.metrics.feedback(status)
        return Thanks(request_id=told.request_id, label=told.label, status=status)

    async def close(self) -> None:
        """Let the shadow finish what it has begun."""
        await self.shadow.close()

    async def _judge(
        self, texts: list[str], challenger: Challenger | None, key_id: str, on_record: OnRecord
    ) -> list[tuple[Answered, Judged]]:
        if challenger is not None and challenger.mode == "canary":
            # A trial must not cost anybody an answer: whatever is wrong with the challenger, the champion answers, and it is
            # counted under one name for all challengers, by which an alert finds it.
            try:
                if in_share(key_id, challenger.model.about.version, challenger.share):
                    async with asyncio.timeout(self.canary_seconds):
                        return on_record("canary", *await self._ask(challenger.model, texts))
            except NotReady:
                self.metrics.failed("challenger", "not ready")
            except TimeoutError:
                self.metrics.failed("challenger", "deadline")
            except Exception:
                self.metrics.failed("challenger", "error")
        return on_record("champion", *await self._ask(self.models.champion, texts))

    async def _ask(self, model: Model, texts: list[str]) -> tuple[About, list[Judged]]:
        about = model.about
        if not self.cache.size:
            return about, await self._judged(model, about, texts)
        found = [self.cache.get(about.version, text) for text in texts]
        missing = [place for place, known in enumerate(found) if known is None]
        for known in found:
            self.metrics.cache(known is not None)
        try:
            judged = await self._judged(model, about, [texts[place] for place in missing]) if missing else []
        except UnusableText as fault:
            raise UnusableText([missing[place] for place in fault.places]) from None
        for place, new in zip(missing, judged, strict=True):
            found[place] = new
            self.cache.put(about.version, texts[place], new)
        return about, [known for known in found if known is not None]

    async def _judged(self, model: Model, about: About, texts: list[str]) -> list[Judged]:
        try:
            return await model.judge(texts)
        except NotReady:
            self.metrics.failed(about.version, "not ready")
            raise
        except asyncio.CancelledError:
            self.metrics.failed(about.version, "deadline")
            raise
        except UnusableText:
            raise
        except Exception:
            self.metrics.failed(about.version, "error")
            raise

    def _labels(self) -> list[str]:
        labels = list(self.models.champion.about.labels)
        challenger = self.models.challenger
        if challenger is not None:
            with suppress(NotReady):
                labels += [label for label in challenger.model.about.labels if label not in labels]
        return labels


def in_share(key_id: str, version: str, share: float) -> bool:
    """Return whether a canary of this version answers this caller: always the same, and a fresh draw for another version.

    Without keys there is no caller to be the same for, and the share is one of requests.
    """
    drawn = sha256(f"{version} {key_id or new_id()}".encode()).digest()
    return int.from_bytes(drawn[:8], "big") < share * 2**64


def masked(groups: dict[str, str]) -> dict[str, str]:
    """Return group values as they may be kept: cleaned, personal data of every kind as its token."""
    return {name: clean_text(value, unicode_form="NFKC", masked=KINDS)[0] for name, value in groups.items()}
