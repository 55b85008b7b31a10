"""Tells people what has happened: always in the log, and by Apprise (e-mail, webhooks, chats) to the addresses in EVERGREEN_NOTIFY.

Addresses are Apprise URLs, parted by blanks. They hold secrets, so they stand in the environment alone and appear in no message.
Telling never fails a run: where an address takes nothing, the log says so.
"""

import logging
import os
import threading
from collections.abc import Callable
from typing import Literal

from evergreen.sections.loop import Notify

ADDRESSES = "EVERGREEN_NOTIFY"
SECONDS = 30  # for all addresses together
Event = Literal["alert", "verdict", "release", "failure"]
Say = Callable[[str], None]


def notify(settings: Notify, event: Event, title: str, body: str, *, say: Say = print) -> None:
    """Say it in the log, and tell it to all addresses where `notify.events` of params.yaml lists its kind."""
    say(f"{title}: {body}")
    addresses = os.environ.get(ADDRESSES, "").split()
    if event in settings.events and addresses:
        _tell(addresses, event, title, body, say)


def _tell(addresses: list[str], event: Event, title: str, body: str, say: Say) -> None:
    import apprise  # here, so that whoever has no address needs none of it

    # It logs addresses that it cannot read, secrets and all.
    logging.getLogger("apprise").disabled = True
    kind = apprise.NotifyType.FAILURE if event == "failure" else apprise.NotifyType.INFO
    words = apprise.NotifyFormat.TEXT  # else an e-mail takes it for HTML, and a < or a new line is lost
    taken: list[int] = []

    def send(number: int, address: str) -> None:
        one = apprise.Apprise()
        if one.add(address) and one.notify(title=f"Evergreen: {title}", body=body, notify_type=kind, body_format=words):
            taken.append(number)

    # Each by itself and not waited for beyond SECONDS: one that hangs keeps neither the others nor the run.
    threads = [threading.Thread(target=send, args=each, daemon=True, name=f"notify {each[0]}") for each in enumerate(addresses, start=1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS / len(threads))
    for number in sorted({*range(1, len(addresses) + 1)} - {*taken}):
        say(f"address {number} of {ADDRESSES} has not taken the notification ({event}); `apprise` with that address says why")
