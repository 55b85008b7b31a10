"""One customer who keeps asking while the version changes, and counts how often no answer came.

The questions are real ones, so that they go through all that may drop them, a model's worker included; each answer is on the request log
then. What is trained and measured must not be what this customer asked. No label is ever told, so no training takes these rows. They lie
between two windows of the monitor: it has looked before the first one, and the next window begins after the last one (`ended`). And the
comparison at the end is of the messages that the story itself has sent. One figure may move a little: where the gate keeps the old version,
its measured accuracy is weighted by how sure it was of all its answers. So the questions are those of before, which are like the others.
"""

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from itertools import cycle
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from demo.customers import Message

EVERY = 0.5  # seconds between an answer and the next question: often enough to meet a swap, and next to nothing for two busy cores
PATIENCE = 30.0  # seconds, the service's own limit (package.timeout), after which a question counts as not answered


class Caller:
    """Asks in the background while its block lasts, the messages of before in turn; a request that fails is counted, not made again."""

    def __init__(self, address: str, messages: Sequence[Message], *, every: float = EVERY) -> None:
        self.host, self.every = urlsplit(address).netloc, every
        self.versions: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.last: str | None = None  # the version that answered last
        self.ended: float | None = None  # seconds since 1970; none of its answers is younger
        self._messages = cycle(messages)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_asking, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, where: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        self.ended = time.time()

    def words(self) -> str:
        """Say how many questions were asked, which versions answered how many of them, and how many got no answer, with the reasons."""
        answered, failed = self.versions.total(), self.failures.total()
        by = "".join(f", {count} by {version}" for version, count in self.versions.items())
        why = f" ({', '.join(f'{count} x {words}' for words, count in self.failures.items())})" if failed else ""
        return f"{answered + failed} requests of a customer meanwhile: {answered} answered{by}; {failed} failed{why}"

    def _keep_asking(self) -> None:
        for message in self._messages:
            try:
                self.last = self._ask(message)
                self.versions[self.last] += 1
            except (OSError, http.client.HTTPException, ValueError, LookupError) as fault:
                self.failures[str(fault) or type(fault).__name__] += 1
            if self._over.wait(self.every):
                return

    def _ask(self, message: Message) -> str:
        """Ask once, and not again where that fails; return the version that answered."""
        line = http.client.HTTPConnection(self.host, timeout=PATIENCE)
        try:
            body = json.dumps({"text": message.text, "groups": message.groups})
            line.request("POST", "/predict", body, {"content-type": "application/json"})
            answer = line.getresponse()
            content = answer.read()
        finally:
            line.close()
        if answer.status != 200:
            raise ValueError(f"status {answer.status}")
        return str(json.loads(content)["predictions"][0]["model_version"])
