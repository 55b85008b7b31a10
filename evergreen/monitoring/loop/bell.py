"""Where alerts from outside are put on record by the service: rung in time or not at all, whatever the database does.

Knows nothing of HTTP. An alert that is rung again because its first ring was not answered is one alert (alerts.py).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from evergreen.monitoring.log import database
from evergreen.monitoring.log.questions import Questions
from evergreen.monitoring.loop import loop_tables
from evergreen.monitoring.loop.alerts import Alert, raise_alert

log = logging.getLogger("evergreen.alerts")


@dataclass(frozen=True, slots=True)
class Rung:
    """An alert as somebody outside tells it; `key` makes it this one and no other."""

    key: str
    trigger: str
    because: str
    model_version: str | None = None
    time: float | None = None  # seconds since 1970
    facts: dict[str, Any] = field(default_factory=dict)
    lasting: bool = False  # told again and again for as long as it is so


class Bell:
    """Rings at a database; connects when it is first rung."""

    def __init__(self, url: str) -> None:
        self._engine = database.connect(url)
        self._questions = Questions(self._note)
        self._prepared = False

    def ring(self, told: Sequence[Rung]) -> list[tuple[Alert, bool]] | None:
        """Return each alert as it is on record, and whether it is new; None where the database did not say so in time.

        May ask a database: call it in a thread.
        """
        return self._questions.ask(lambda: self._ring(told))

    def close(self) -> None:
        """Wait for what is being rung, but not for long."""
        self._questions.close()
        self._engine.dispose()

    def _ring(self, told: Sequence[Rung]) -> list[tuple[Alert, bool]]:
        if not self._prepared:
            loop_tables.prepare(self._engine)
            self._prepared = True
        return [
            raise_alert(
                self._engine,
                source="http",
                trigger=one.trigger,
                because=one.because,
                model_version=one.model_version,
                key=one.key,
                time=one.time,
                lasting=one.lasting,
                facts=one.facts,
            )
            for one in told
        ]

    @staticmethod
    def _note(fault: Exception) -> None:
        log.warning("alerts could not be put on record: %s", database.described(fault))
