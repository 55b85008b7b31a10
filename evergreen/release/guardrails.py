"""Guardrails of a trial: when a challenger is so bad, beyond doubt, that it must not go on.

Shares are judged by intervals that hold at every look (`evergreen.evaluation.sequential`), so that looking often breaks no guardrail by
chance. Knows nothing of services, of databases, or of how a trial is ended.
"""

from dataclasses import dataclass
from typing import Any

from evergreen.evaluation.sequential import Bounds, share
from evergreen.monitoring.trials.comparison import Arm
from evergreen.sections.loop import Release

ENOUGH = 50  # answers of each, before their latencies are compared


@dataclass(frozen=True, slots=True)
class Seen:
    """A trial as it stands: both arms (None before the first answer), and how many texts the challenger failed to answer."""

    champion: Arm | None
    challenger: Arm | None
    failed: int

    @property
    def answers(self) -> int:
        """How many texts the challenger answered."""
        return self.challenger.answers if self.challenger else 0

    @property
    def errors(self) -> Bounds:
        """Share of the texts asked of the challenger that it did not answer, 0 to 1."""
        return share(self.failed, self.failed + self.answers)

    def report(self) -> dict[str, Any]:
        """Return the figures as the ledger keeps them; what is undefined is null."""
        both = self.champion and self.challenger and self.answers
        return {
            "answers": self.answers,
            "failed": self.failed,
            "p50_ms": [round(arm.p50_ms, 2) for arm in (self.champion, self.challenger)] if both else None,  # type: ignore[union-attr]
            "needs_person": [round(arm.needs_person.value, 4) for arm in (self.champion, self.challenger)] if both else None,  # type: ignore[union-attr]
        }


def broken(seen: Seen, limits: Release) -> list[str]:
    """Return each guardrail that is broken, in words; nothing while none is."""
    words = []
    errors = seen.errors
    if errors.low > limits.max_error_share:
        words.append(
            f"{seen.failed:,} of {seen.failed + seen.answers:,} texts were not answered by the challenger "
            f"({errors.value:.1%}, at least {errors.low:.1%}; at most {limits.max_error_share:.1%} is allowed)"
        )
    old, new = seen.champion, seen.challenger
    if old is None or new is None or not old.answers or not new.answers:
        return words
    if min(old.answers, new.answers) >= ENOUGH and new.p50_ms > limits.max_latency_ratio * old.p50_ms:
        words.append(
            f"its median latency is {new.p50_ms:.0f} ms against {old.p50_ms:.0f} ms of the champion "
            f"(× {new.p50_ms / old.p50_ms:.1f}; at most × {limits.max_latency_ratio:g} is allowed)"
        )
    if new.needs_person.low - old.needs_person.high > limits.max_person_share:
        words.append(
            f"it leaves {new.needs_person.value:.0%} of the texts to a person, the champion {old.needs_person.value:.0%} "
            f"(at most {limits.max_person_share:.0%} more is allowed)"
        )
    return words


def unheard(texts: int) -> str:
    """Return what is said of a challenger that answered nothing in a whole trial in which so many texts were answered by others."""
    return (
        f"it answered none of the {texts:,} texts that came meanwhile, so nothing speaks for it; see the service's log, "
        f"and of a canary whether release.trial_share reaches any API key"
    )
