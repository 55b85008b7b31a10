"""What the API asks of its neighbours: the request log and the metrics. Contracts alone; the work is done elsewhere.

Every method returns at once (a write to the page cache, a counter), but for `Recorder.knows` and `Recorder.labelled`, which may ask a
database.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

from evergreen.monitoring.log.records import Answered, Labelled, Role

Told = Literal["recorded", "already recorded", "corrected"]


class RecorderState(Protocol):
    """How the request log fares. `dropped` counts rows lost since the start; `last_error` never holds a text or a secret."""

    @property
    def pending(self) -> int:
        """Rows on the journal or in memory that the database does not hold yet."""

    @property
    def dropped(self) -> int:
        """Rows lost: neither disk nor database could take them."""

    @property
    def refused(self) -> int:
        """Rows that the database would not take for what they hold, put aside in a file."""

    @property
    def damaged(self) -> int:
        """Rows of the journal that were no longer whole, such as the one in writing when the power went."""

    @property
    def spool_bytes(self) -> int:
        """Bytes of the journal."""

    @property
    def buffered_bytes(self) -> int:
        """Bytes of rows that are in memory alone, because the disk takes no more: the death of the process would lose them."""

    @property
    def database_up(self) -> bool:
        """Whether the last try at the database went well."""

    @property
    def last_error(self) -> str | None:
        """What went wrong last, if anything is still wrong."""


class Recorder(Protocol):
    """The request log. Recording never raises: what cannot be kept is counted."""

    def answered(self, rows: Sequence[Answered]) -> None:
        """Keep these rows; when it returns, the death of this process loses none of them."""

    def labelled(self, row: Labelled) -> Told | None:
        """Keep a label: `recorded` is new, `already recorded` says the same again, `corrected` another than before. None: lost."""

    def knows(self, request_id: str) -> bool | None:
        """Return whether there is an answer of this id, on the journal or in the database; None while nobody can say."""

    def state(self) -> RecorderState:
        """Return how it fares now."""


class Metrics(Protocol):
    """Counters and histograms. Names of labels come from models and routes, never from what a caller sent."""

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count a request: `route` is one of the known paths, or "other"; seconds from its headers to the end of its answer."""

    def refused(self, reason: str) -> None:
        """Count a refusal by one of a few fixed reasons, such as "rate" or "queue"."""

    def answered(self, version: str, role: Role, label: str, needs_person: bool, seconds: float) -> None:
        """Count one text's answer (or shadow answer)."""

    def batch(self, version: str, size: int) -> None:
        """Count a text that went through the model together with size - 1 others."""

    def shadow(self, version: str, agreed: bool) -> None:
        """Count a shadow answer: whether the challenger gave the label that the caller got."""

    def shadow_lost(self, version: str, texts: int, reason: str) -> None:
        """Count texts that a challenger in shadow did not judge: "busy" (too many in flight) or "failed"."""

    def failed(self, version: str, reason: str) -> None:
        """Count a request that a model did not answer: "deadline", "not ready" or "error"."""

    def cache(self, hit: bool) -> None:
        """Count a look into the cache of identical texts."""

    def feedback(self, told: Told) -> None:
        """Count a label that was told."""

    def queue(self, texts: int) -> None:
        """Say how many texts wait or are in work now."""

    def exposition(self) -> tuple[bytes, str]:
        """Return the page for Prometheus and its content type."""
