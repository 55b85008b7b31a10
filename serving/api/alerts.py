"""POST /alerts: that a retraining is wanted, as Alertmanager tells it or in plain words. It is put on record, and nothing more.

What becomes of it is decided elsewhere: whether it is one too many, whether a cooldown holds it. Text is masked like any other.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Annotated, Any, Protocol

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from evergreen.data.personal_data import KINDS
from evergreen.data.text import clean_text
from evergreen.monitoring.loop.bell import Rung

MOST_ALERTS = 100
MOST_FACTS = 32  # labels kept of an alert
MOST_CHARACTERS = 500  # kept of a reason or a label
Name = Annotated[str, Field(min_length=1, max_length=200)]
VERSION = re.compile(r"[0-9a-f]{12}")  # all digits, it would look like a telephone number
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def _written_out(given: Any) -> Any:
    """Refuse what is no moment of RFC 3339, before it is parsed: "0" would become 1970."""
    if given is not None and not (isinstance(given, str) and RFC_3339.fullmatch(given)):
        raise ValueError("give a moment as in 2026-11-01T08:00:00Z")
    return given


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out), Field(strict=False)]
Labels = Annotated[dict[str, str], Field(max_length=200)]


class NotOnRecord(RuntimeError):
    """The database has not taken the alerts in time."""


class Told(BaseModel):
    """What tells of alerts: strict in its types, never repeated in an error. Alertmanager may say more than is read here."""

    model_config = ConfigDict(extra="ignore", strict=True, hide_input_in_errors=True)


class Firing(Told):
    """One alert in the body of Alertmanager's webhook."""

    status: str = Field(default="firing", description="firing, or resolved, which is not put on record")
    labels: Labels = Field(default_factory=dict, description="alertname names the trigger; model_version the model it is about")
    annotations: Labels = Field(default_factory=dict, description="summary or description says why")
    startsAt: Moment | None = None
    fingerprint: Name


class AlertBody(Told):
    """The body of /alerts: `alerts`, as Alertmanager sends them, or a single one in plain words: `key` and `because`."""

    alerts: Annotated[list[Firing], Field(min_length=1, max_length=MOST_ALERTS)] | None = Field(
        default=None, description="as Alertmanager sends them"
    )
    key: Name | None = Field(default=None, description="makes this alert the one it is: the same key twice is one alert")
    because: Name | None = Field(default=None, description="why a retraining is wanted")
    trigger: Name | None = Field(default=None, description="what kind of reason that is")
    model_version: Name | None = Field(default=None, description="which model it is about; without it, whichever is live")
    time: Moment | None = Field(default=None, description="when what it tells of happened; without it, now")

    @model_validator(mode="after")
    def _one_of_both(self) -> "AlertBody":
        plain = self.key is not None and self.because is not None
        if plain == (self.alerts is not None) or (self.alerts is not None and (self.key or self.because)):
            raise ValueError('give either "alerts" (as Alertmanager does), or "key" and "because"')
        return self

    @property
    def rung(self) -> list[Rung]:
        """The alerts that are told of; what is resolved is none."""
        if self.alerts is None:
            at = self.time.timestamp() if self.time else None
            about = _version(self.model_version)
            return [Rung(str(self.key), _kept(self.trigger or "told"), _kept(str(self.because)), about, at)]
        return [_rung(one) for one in self.alerts if one.status != "resolved"]


def _rung(one: Firing) -> Rung:
    name = one.labels.get("alertname") or "alert"
    words = one.annotations.get("summary") or one.annotations.get("description") or name
    at = one.startsAt.timestamp() if one.startsAt else None
    labels = {_kept(label): _kept(value) for label, value in sorted(one.labels.items())[:MOST_FACTS]}
    about = _version(one.labels.get("model_version"))
    return Rung(f"{one.fingerprint} {at}", _kept(name), _kept(words), about, at, lasting=True, facts={"labels": labels})


def _version(name: str | None) -> str | None:
    """Return a model's version as it is; what is none may hold anything, and is kept like any other words."""
    return name if name and VERSION.fullmatch(name) else _kept(name or "") or None


def _kept(words: str) -> str:
    return clean_text(words[:MOST_CHARACTERS], unicode_form="NFKC", masked=KINDS)[0]


class OnRecord(BaseModel):
    """One alert as it is on record."""

    id: str
    new: bool = Field(description="false: it had been told before")
    state: str = Field(
        description="open, taken (a retraining runs for it), done (one since then has answered it), stale, given up or closed"
    )


class AlertsTaken(BaseModel):
    """The answer to /alerts. Sending the same again changes nothing."""

    alerts: list[OnRecord]


class Bell(Protocol):
    """Where alerts are put on record."""

    def ring(self, told: Sequence[Rung]) -> list[tuple[Any, bool]] | None:
        """Return each alert and whether it is new; None where that could not be had in time. May ask a database."""


async def ring(bell: Bell, body: AlertBody) -> AlertsTaken:
    """Put what a body tells of on record. Raises NotOnRecord."""
    told = body.rung
    found = await asyncio.to_thread(bell.ring, told) if told else []
    if found is None:
        raise NotOnRecord
    return AlertsTaken(alerts=[OnRecord(id=alert.id, new=new, state=alert.state) for alert, new in found])
