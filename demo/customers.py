"""The customers: messages of the inbox's later months, sent to the service as traffic, and the right teams, told later."""

import csv
import http.client
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

GROUPS = ("age_band", "first_language", "channel")
PATIENCE = 60  # seconds that a message is sent again where the service says that it has too much to do


@dataclass(frozen=True, slots=True)
class Message:
    """A message, the team it belongs to, and who wrote it."""

    id: str
    day: date
    text: str
    team: str
    groups: dict[str, str]


@dataclass(slots=True)
class Sent:
    """A message and the answer to it."""

    message: Message
    request_id: str
    prediction: str
    model_version: str


def read(paths: Iterable[Path]) -> list[Message]:
    """Return the messages of some files, oldest first."""
    found = []
    for path in paths:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                groups = {name: row[name] for name in GROUPS}
                found.append(Message(row["message_id"], date.fromisoformat(row["received_at"]), row["text"], row["team"], groups))
    return sorted(found, key=lambda message: (message.day, message.id))


def windows(messages: Sequence[Message], days: int) -> list[list[Message]]:
    """Return the messages of each period of so many days; what is left at the end belongs to the last one."""
    first, last = messages[0].day, messages[-1].day
    count = max(1, round(((last - first).days + 1) / days))
    starts = [first + timedelta(days * number) for number in range(count)]
    parts: list[list[Message]] = [[] for _ in starts]
    for message in messages:
        parts[sum(start <= message.day for start in starts) - 1].append(message)
    return parts


class Service:
    """The running service, asked over HTTP; messages come one after the other, so that each play trains on them in the same order."""

    def __init__(self, address: str) -> None:
        self.host = urlsplit(address).netloc

    def send(self, messages: Sequence[Message], done: Callable[[], None]) -> list[Sent]:
        """Send messages and return the answers, in their order."""

        def one(message: Message) -> Sent:
            answer = self._post("/predict", {"text": message.text, "groups": message.groups})["predictions"][0]
            done()
            return Sent(message, answer["request_id"], answer["label"], answer["model_version"])

        return [one(message) for message in messages]

    def label(self, sent: Sequence[Sent]) -> None:
        """Tell the right team of messages that were answered."""
        for item in sent:
            self._post("/feedback", {"request_id": item.request_id, "label": item.message.team})

    def version(self) -> str:
        """Return the version that answers."""
        return str(self._ask("GET", "/model", None)["model_version"])

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self._ask("POST", path, body)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        deadline = time.monotonic() + PATIENCE
        while True:
            line = http.client.HTTPConnection(self.host, timeout=PATIENCE)
            try:
                headers = {"content-type": "application/json"} if body is not None else {}
                line.request(method, path, json.dumps(body) if body is not None else None, headers)
                answer = line.getresponse()
                content = answer.read()
            finally:
                line.close()
            if answer.status == 200:
                return json.loads(content)
            if answer.status not in (429, 503) or time.monotonic() > deadline:
                raise SystemExit(f"the service answered {method} {path} with {answer.status}: {content.decode('utf-8', 'replace')[:300]}")
            time.sleep(0.2)
