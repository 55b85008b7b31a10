"""Other settings of the policy, tried on the windows that were recorded: what would have been decided, cost and saved.

What would have been seen had a retraining come earlier, later or not at all, nobody knows. It is told from what was seen by one
assumption: the world moves along a line, a model loses as much accuracy as the world has moved since its data was taken, and a
retraining catches up with it and goes live. So a loss that was recorded under one model is shifted for another. A model that never came
about keeps the alarm that led to its successor.

The loss of a window is the measured one where labels had come, else the estimated one, else none is assumed. Because a policy acts on
figures that are high partly by chance, what it saves is told a little too well, more so for hasty settings. Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evergreen.monitoring.policy import Decision, Facts, Situation, decide
from evergreen.sections.loop import Policy

ENDS = ("value", "low", "high")


@dataclass(frozen=True, slots=True)
class Step:
    """One window under the tried settings: what it would have decided, and the loss it would have seen (accuracy)."""

    window: Facts
    decision: Decision
    loss: float


@dataclass(frozen=True, slots=True)
class Replay:
    """All windows under one setting. `saved`: wrong answers fewer than without any retraining, and its ends."""

    steps: tuple[Step, ...]
    saved: Mapping[str, float]

    @property
    def retrainings(self) -> list[Step]:
        """The windows that would have started one."""
        return [step for step in self.steps if step.decision.action == "retrain"]

    @property
    def waited(self) -> int:
        """Windows that gave a reason to retrain while something held it."""
        return sum(step.decision.action == "wait" for step in self.steps)

    @property
    def answers(self) -> int:
        """Answers in all windows."""
        return sum(step.window["rows"] for step in self.steps)

    @property
    def mean_loss(self) -> float | None:
        """Accuracy lost per answer, on average; None without an answer."""
        return sum(step.window["rows"] * step.loss for step in self.steps) / self.answers if self.answers else None


@dataclass(frozen=True, slots=True)
class _World:
    """How far the world had moved at a window since the first recorded model, and how much of it the recorded model knew."""

    moved: Mapping[str, float]
    known: float
    alarmed: bool  # whether the window before the recorded model's own first one had an alarm


def replay(windows: Sequence[Facts], settings: Policy, *, newest_row: float | None = None) -> Replay:
    """Decide again on windows, oldest first, with these settings.

    `newest_row`: when the newest training row of the first model was written (seconds since 1970); None: the first window's beginning.
    """
    worlds = _worlds(windows)
    trained = newest_row if newest_row is not None or not windows else windows[0]["since"]
    learned, number, labels = dict.fromkeys(ENDS, 0.0), 1, 0
    starts: list[float] = []
    seen: list[Facts] = []
    steps: list[Step] = []
    saved = dict.fromkeys(ENDS, 0.0)
    for window, world in zip(windows, worlds, strict=True):
        seen.append(_as_seen(window, world, learned["value"], number))
        labels += window["labelled"]
        situation = Situation(now=window["until"], newest_row=trained, new_labels=labels, starts=tuple(starts))
        decision = replace(decide(seen, situation, settings), window=window["id"])
        steps.append(Step(window, decision, world.moved["value"] - learned["value"]))
        for end in ENDS:
            saved[end] += window["rows"] * learned[end]
        if decision.action == "retrain":
            learned = {end: max(world.moved[end], 0.0) for end in ENDS}
            starts.append(window["until"])
            trained, number, labels = window["until"], number + 1, 0
    return Replay(tuple(steps), saved)


def _worlds(windows: Sequence[Facts]) -> list[_World]:
    found: list[_World] = []
    known, alarmed = 0.0, False
    for place, window in enumerate(windows):
        before = windows[place - 1] if place else window
        if (window["model_version"], window["reference"]) != (before["model_version"], before["reference"]):
            known, alarmed = max(found[-1].moved["value"], 0.0), before["drift"]["alarm"]
        loss = _loss(window)
        found.append(_World({end: known + loss[end] for end in ENDS}, known, alarmed))
    return found


def _loss(window: Facts) -> Mapping[str, float]:
    for part in ("quality", "estimate"):
        loss = (window.get(part) or {}).get("loss")
        if loss and all(loss.get(end) is not None for end in ENDS):
            return {end: loss[end] for end in ENDS}
    return dict.fromkeys(ENDS, 0.0)


def _as_seen(window: Facts, world: _World, learned: float, number: int) -> dict[str, Any]:
    """Return the facts as a model that knew the world up to `learned` would have shown them."""
    shift = world.known - learned
    facts = {**window, "model_version": f"replayed {number}", "reference": f"replayed {number}"}
    for part in ("quality", "estimate"):
        content = window.get(part)
        if content and content.get("loss"):
            facts[part] = {**content, "loss": {end: None if (at := content["loss"].get(end)) is None else at + shift for end in ENDS}}
    alarm = window["drift"]["alarm"]
    if shift > 0:
        alarm = alarm or world.alarmed
    elif shift < 0:
        alarm = alarm and world.moved["value"] > learned
    facts["drift"] = {**window["drift"], "alarm": alarm}
    return facts
