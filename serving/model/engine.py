"""A model in this process: cleans, reads and judges texts on threads of its own, several of like length at a time.

No timer makes anybody wait for company: a thread that becomes free takes the text whose turn it is and what fits beside it,
so that runs are small while there is little to do, and grow with the load. Each run stays on one core. Knows nothing of
requests, limits or processes.
"""

import asyncio
import os
import sys
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evergreen.data.text import clean_text
from evergreen.model.inference import Classifier, Floats, softmax
from serving.model.backend import About, Judged, NotReady, UnusableText
from serving.model.batching import Line, Waiting
from serving.settings import ARTIFACT, CALIBRATION, SETTINGS, Settings

NICE = 5  # steps of priority that the model's threads stand behind: about a third of a core where somebody else wants it too
WARM_UP = (4, 16, 64, 256)  # tokens of the runs that let the runtime take its memory before the first caller waits for it


@dataclass(slots=True, eq=False)
class _Asked:
    """One call of `judge`: its texts, and what is known of them so far."""

    texts: tuple[str, ...]
    loop: asyncio.AbstractEventLoop
    answer: "asyncio.Future[list[Judged]]"
    judged: dict[int, Judged] = field(default_factory=dict)
    failure: Exception | None = None
    dropped: bool = False


class Engine:
    """A loaded model with `threads` threads; implements `backend.Model`. `root` is the `src` folder of its Bento."""

    def __init__(self, root: Path, threads: int) -> None:
        self._root = root
        self._cleaning = Settings.load(root / SETTINGS).cleaning
        self._classifier = Classifier.load(root / ARTIFACT, root / CALIBRATION, threads=1)
        known = self._classifier
        self._about = About(version=known.version, labels=known.labels, threshold=known.calibration.threshold)
        self._change = threading.Condition()  # guards everything below
        self._asked: deque[_Asked] = deque()
        self._line: Line[_Asked] = Line(alone=known.alone)
        self._idle = 0
        self._closing = False
        self._threads = [threading.Thread(target=self._work, name=f"model-{number}", daemon=True) for number in range(threads)]
        for thread in self._threads:
            thread.start()

    @property
    def about(self) -> About:
        """What the model is."""
        return self._about

    @property
    def root(self) -> Path:
        """The folder of its Bento's files."""
        return self._root

    @property
    def waiting(self) -> int:
        """Texts that no thread has taken yet."""
        with self._change:
            return len(self._line) + sum(len(asked.texts) for asked in self._asked)

    async def judge(self, texts: Sequence[str]) -> list[Judged]:
        """Judge texts in their order. Raises UnusableText; NotReady after `close`. A cancelled call gives up its place."""
        if not texts:
            return []
        loop = asyncio.get_running_loop()
        asked = _Asked(tuple(texts), loop, loop.create_future())
        with self._change:
            if self._closing:
                raise NotReady("this model is no longer in service")
            self._asked.append(asked)
            self._change.notify()
        try:
            return await asked.answer
        except asyncio.CancelledError:
            with self._change:
                asked.dropped = True
                self._line.drop(asked)
            raise

    def judge_at_once(self, texts: Sequence[str]) -> list[Judged]:
        """Judge texts one by one in the calling thread, past the line: what a start needs before anybody may ask."""
        cleaned = [self._cleaned(text) for text in texts]
        return [self._judged(text, logits, 1) for text in cleaned for logits in self._classifier.run(self._classifier.tokens([text]))[0]]

    def warm_up(self) -> None:
        """Run once over texts of several lengths."""
        for length in WARM_UP:
            self._classifier.run([self._classifier.tokens(["a " * length])[0]])

    def close(self) -> None:
        """Finish the runs that have begun and end the threads; whoever still waits gets NotReady."""
        with self._change:
            self._closing = True
            left = {id(asked): asked for asked in [*self._asked, *(text.owner for text in self._line.take_all())]}
            self._asked.clear()
            self._change.notify_all()
        for asked in left.values():
            asked.failure = NotReady("this model is no longer in service")
        _deliver(list(left.values()))
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        """Be one of the threads: make ready what was asked, else run what waits, else sleep."""
        _step_back()
        while True:
            with self._change:
                self._idle += 1
                while not (self._asked or self._line or self._closing):
                    self._change.wait()
                self._idle -= 1
                if self._closing:
                    return
                asked = self._asked.popleft() if self._asked else None
                texts = [] if asked else self._line.take(self._idle)
            if asked:
                self._make_ready(asked)
            else:
                self._run(texts)

    def _make_ready(self, asked: _Asked) -> None:
        """Clean and read the texts of a call and put them in line; a call with a text that cleaning empties ends here."""
        if asked.dropped:
            return
        try:
            cleaned = [self._cleaned(text) for text in asked.texts]
            empty = [place for place, text in enumerate(cleaned) if not text]
            if empty:
                raise UnusableText(empty)
            tokens = self._classifier.tokens(cleaned)
        except Exception as failure:
            asked.failure = failure
            return _deliver([asked])
        with self._change:
            if self._closing:
                asked.failure = NotReady("this model is no longer in service")
            elif not asked.dropped:
                self._line.add([Waiting(asked, place, text, ids) for place, (text, ids) in enumerate(zip(cleaned, tokens, strict=True))])
                self._change.notify(len(cleaned))
        if asked.failure:
            _deliver([asked])

    def _run(self, texts: list[Waiting[_Asked]]) -> None:
        """Run texts together; where that fails, one by one, so that nobody pays for a neighbour."""
        try:
            logits = self._classifier.run([text.tokens for text in texts])[0]
            judged = [self._judged(text.text, row, len(texts)) for text, row in zip(texts, logits, strict=True)]
        except Exception as failure:
            if len(texts) > 1:
                for text in texts:
                    self._run([text])
                return
            asked = texts[0].owner
            asked.failure = failure
            with self._change:
                self._line.drop(asked)
            return _deliver([asked])
        for text, answer in zip(texts, judged, strict=True):
            text.owner.judged[text.place] = answer
        _deliver([asked for asked in dict.fromkeys(text.owner for text in texts) if len(asked.judged) == len(asked.texts)])

    def _cleaned(self, text: str) -> str:
        return clean_text(text, unicode_form=self._cleaning.unicode_form, masked=self._cleaning.mask)[0]

    def _judged(self, text: str, logits: Floats, batch: int) -> Judged:
        probabilities = softmax(logits, self._classifier.calibration.temperature)
        return Judged(text=text, probabilities=tuple(probabilities.tolist()), batch=batch)


def _step_back() -> None:
    """Let this thread yield to those that read and refuse requests: where the model takes every core, health must still answer."""
    if sys.platform == "linux":  # elsewhere a thread has no priority of its own
        here = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, here, os.getpriority(os.PRIO_PROCESS, here) + NICE)


def _deliver(finished: list[_Asked]) -> None:
    """Hand results to those who wait, on their own event loops."""
    loops = dict.fromkeys(asked.loop for asked in finished)
    for loop in loops:
        mine = [asked for asked in finished if asked.loop is loop]
        try:
            loop.call_soon_threadsafe(_settle, mine)
        except RuntimeError:  # the loop is closed: nobody waits any more
            continue


def _settle(finished: list[_Asked]) -> None:
    for asked in finished:
        if asked.answer.done():
            continue
        if asked.failure:
            asked.answer.set_exception(asked.failure)
        else:
            asked.answer.set_result([asked.judged[place] for place in range(len(asked.texts))])
