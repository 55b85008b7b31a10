"""Several trainings from one start, each with its rows in another order, and the mean of their weights: one model of the same size.

A single training on few rows owes much to their order. Trainings from one pretrained start stay close enough together for the mean of
their weights to be a good model too, mostly better than any one of them: a uniform "model soup" (Wortsman et al. 2022, arXiv
2203.05482). One training is a mean of one, and the same to the bit as without.
"""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from evergreen.model import checkpoint
from evergreen.model.training import Trained, Training
from evergreen.sections.pipeline import Finetune


@dataclass(frozen=True)
class Averaged:
    """What the trainings did, in their order; validation loss (nats) and accuracy (0-1) of the model that they leave."""

    members: list[Trained]
    validation_loss: float
    validation_accuracy: float


class Averaging:
    """`settings.members` trainings of `model` (changed in place), taken up where their checkpoints stand.

    Each has a seed of its own, one above the one before. `on_step(step, total, member, epoch, loss)` is called after each step, counted
    over all members; `given` is what each Training takes besides. `resumed_from` is the step of the checkpoint, 0 without one.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        settings: Finetune,
        checkpoints: Path | None = None,
        on_step: Callable[[int, int, int, int, float], None] = lambda *_: None,
        log: Callable[[str, float, int], None] = lambda *_: None,
        **given: Any,
    ) -> None:
        self.model, self.settings, self.checkpoints, self.given = model, settings, checkpoints, given
        self.on_step, self.log = on_step, log
        self.start = _copied(model) if settings.members > 1 else {}
        self.sums, self.done = self._resume()
        self.training = self._member(min(len(self.done) + 1, settings.members))
        self.resumed_from = min(len(self.done) * self.training.total + self.training.resumed_from, settings.members * self.training.total)

    def run(self) -> Averaged:
        """Train what is not trained yet, and leave the mean of all weights in the model."""
        while (number := len(self.done) + 1) <= self.settings.members:
            self.done.append(self.training.run())
            self._add(number)
            if number < self.settings.members:
                self.training = self._member(number + 1)
        if self.sums:
            self.model.load_state_dict(self.start | {name: total / self.settings.members for name, total in self.sums.items()})
        return Averaged(self.done, *self.training.validate())

    def _member(self, number: int) -> Training:
        """Return the training of a member (from 1), its model at the start or where the checkpoint says."""
        if self.start:
            self.model.load_state_dict(self.start)

        def shown(step: int, total: int, epoch: int, loss: float) -> None:
            self.on_step((number - 1) * total + step, self.settings.members * total, number, epoch, loss)

        def logged(name: str, value: float, step: int) -> None:
            self.log(name, value, (number - 1) * self.training.total + step)

        return Training(
            self.model,
            settings=self.settings.model_copy(update={"seed": self.settings.seed + number - 1}),
            checkpoints=self.checkpoints and self._place(number),
            on_step=shown,
            log=logged,
            **self.given,
        )

    def _add(self, number: int) -> None:
        """Add the member's weights to the sum, and keep it: what is summed up is not trained again."""
        if not self.start:
            return
        frozen = {name for name, parameter in self.model.named_parameters() if not parameter.requires_grad}
        weights = {name: tensor for name, tensor in _copied(self.model).items() if tensor.is_floating_point() and name not in frozen}
        self.sums = {name: self.sums[name] + tensor for name, tensor in weights.items()} if self.sums else weights
        if self.checkpoints:
            checkpoint.save(self.checkpoints, step=number, tensors=self.sums, values={"members": [asdict(one) for one in self.done]})
            shutil.rmtree(self._place(number), ignore_errors=True)

    def _resume(self) -> tuple[dict[str, Tensor], list[Trained]]:
        found = checkpoint.newest(self.checkpoints) if self.checkpoints and self.start else None
        return (found[0], [Trained(**one) for one in found[1]["members"]]) if found else ({}, [])

    def _place(self, number: int) -> Path:
        assert self.checkpoints is not None
        return self.checkpoints / f"member-{number}" if self.start else self.checkpoints


def _copied(model: PreTrainedModel) -> dict[str, Tensor]:
    """Return the weights in the machine's own memory: that of a GPU is for training."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in model.state_dict().items()}
