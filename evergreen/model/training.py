"""Fine-tuning: token rows and labels in, a trained classifier and its history out.

Every step draws its dropout from a seed of its own (run seed, step) and every epoch its order from (run seed, epoch), so
a run that resumes from a checkpoint follows exactly the path of one that was never stopped.

Knows nothing of tables, params.yaml's file or the pipeline; `checkpoints` is any folder that is this run's alone.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from evergreen.errors import TrainingError
from evergreen.model import checkpoint
from evergreen.model.packing import packed_logits, packs, padded_logits
from evergreen.sections.pipeline import Finetune

EVALUATION_ROWS = 64
TRIED_ROWS = 16


@dataclass(frozen=True)
class Encoded:
    """Token ids of N texts and the index of each one's label."""

    rows: Sequence[Sequence[int]]
    labels: Sequence[int]


@dataclass
class Progress:
    """Where a training stands; all of it is in the checkpoint."""

    step: int = 0
    epoch_loss: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    best_loss: float = math.inf
    stopped: bool = False


@dataclass(frozen=True)
class Trained:
    """What a training did: `history` has one entry per epoch (losses in nats, accuracy 0-1), `tokens` counts real ones."""

    history: list[dict[str, float]]
    best_epoch: int
    steps: int
    tokens: int
    packed: bool


class Training:
    """One fine-tuning run of `model` (changed in place), taken up where its newest checkpoint stands.

    `settings` is the finetune section; `precision` is fp32 or bf16; `on_step(step, total, epoch, loss)` is called after
    each step and may draw a progress bar; `log(name, value, step)` receives every scalar. `resumed_from` is the step of
    the checkpoint, 0 without one.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        train: Encoded,
        validation: Encoded,
        settings: Finetune,
        precision: str,
        checkpoints: Path | None = None,
        on_step: Callable[[int, int, int, float], None] = lambda *_: None,
        log: Callable[[str, float, int], None] = lambda *_: None,
    ) -> None:
        self.model, self.train, self.validation, self.settings = model, train, validation, settings
        self.precision, self.checkpoints, self.on_step, self.log = precision, checkpoints, on_step, log
        self.packed = packs(model, _varied(train.rows))
        self.forward = packed_logits if self.packed else padded_logits
        self.steps_per_epoch = math.ceil(len(train.rows) / settings.batch_size)
        self.total = self.steps_per_epoch * settings.epochs
        balanced = settings.class_weights == "balanced"
        self.weights = _class_weights(train.labels, len(model.config.id2label or {})).to(model.device) if balanced else None
        if settings.mode == "frozen":
            model.base_model.requires_grad_(False)
        self.optimizer = _optimizer(model, settings)
        self.progress = Progress()
        self.best: dict[str, Tensor] = {}
        self.resumed_from = self._resume()

    def run(self) -> Trained:
        """Train to the last epoch or to the patience's end, and leave the kept epoch's weights in the model."""
        while self.progress.step < self.total and not self.progress.stopped:
            epoch, place = divmod(self.progress.step, self.steps_per_epoch)
            loss = self._step(epoch, place)
            self.progress.step += 1
            self.progress.epoch_loss += loss
            if place == self.steps_per_epoch - 1:
                self._end_epoch(epoch)
            self.on_step(self.progress.step, self.total, epoch + 1, loss)
            if self.checkpoints and self.progress.step % self.settings.checkpoint_steps == 0:
                self._save(self.checkpoints)
        if self.settings.keep == "best":
            self.model.load_state_dict(self.best)
        self.model.eval()
        tokens = sum(len(row) for row in self.train.rows) * len(self.progress.history)
        kept = self.progress.best_epoch if self.settings.keep == "best" else len(self.progress.history)
        return Trained(self.progress.history, kept, self.progress.step, tokens, self.packed)

    def _step(self, epoch: int, place: int) -> float:
        rows = self._order(epoch)[place * self.settings.batch_size :][: self.settings.batch_size]
        torch.manual_seed(self.settings.seed * 1_000_003 + self.progress.step)
        self._train_mode()
        rate = learning_rate(self.progress.step, self.total, self.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        logits_BC = self._logits([self.train.rows[row] for row in rows])
        target_B = torch.tensor([self.train.labels[row] for row in rows], device=self.model.device)
        loss = torch.nn.functional.cross_entropy(logits_BC, target_B, weight=self.weights, label_smoothing=self.settings.label_smoothing)
        value = float(loss.detach())
        self._check("loss", value)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.log("train/loss", value, self.progress.step)
        self.log("train/learning_rate", rate, self.progress.step)
        return value

    def _check(self, name: str, loss: float) -> None:
        """Raise TrainingError when the training has diverged."""
        if math.isfinite(loss):
            return
        hint = " or set finetune.precision to fp32" if self.precision == "bf16" else ""
        raise TrainingError(
            f"the {name} became {loss} after {self.progress.step} of {self.total} steps; lower finetune.learning_rate "
            f"(now {self.settings.learning_rate:g}){hint}"
        )

    def _logits(self, rows: Sequence[Sequence[int]]) -> Tensor:
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return self.forward(self.model, rows).float()

    def _train_mode(self) -> None:
        self.model.train()
        if self.settings.mode == "frozen":
            self.model.base_model.eval()

    def _order(self, epoch: int) -> list[int]:
        generator = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + 500_009 * (epoch + 1))
        order: list[int] = torch.randperm(len(self.train.rows), generator=generator).tolist()
        return order

    def _end_epoch(self, epoch: int) -> None:
        loss, accuracy = self.validate()
        self._check("validation loss", loss)
        mean = self.progress.epoch_loss / self.steps_per_epoch
        self.progress.epoch_loss = 0.0
        self.progress.history.append({"epoch": epoch + 1, "train_loss": mean, "validation_loss": loss, "validation_accuracy": accuracy})
        self.log("validation/loss", loss, self.progress.step)
        self.log("validation/accuracy", accuracy, self.progress.step)
        if loss < self.progress.best_loss:
            self.progress.best_loss, self.progress.best_epoch = loss, epoch + 1
            self.best = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        waited = epoch + 1 - self.progress.best_epoch
        self.progress.stopped = 0 < self.settings.patience <= waited

    @torch.no_grad()
    def validate(self) -> tuple[float, float]:
        """Return log loss in nats and accuracy (0-1) of the model as it is, on the validation rows."""
        self.model.eval()
        order = sorted(range(len(self.validation.rows)), key=lambda row: len(self.validation.rows[row]))
        total, right = 0.0, 0
        for start in range(0, len(order), EVALUATION_ROWS):
            rows = order[start : start + EVALUATION_ROWS]
            logits_BC = self._logits([self.validation.rows[row] for row in rows])
            target_B = torch.tensor([self.validation.labels[row] for row in rows], device=self.model.device)
            total += float(torch.nn.functional.cross_entropy(logits_BC, target_B, reduction="sum"))
            right += int((logits_BC.argmax(dim=1) == target_B).sum())
        return total / len(order), right / len(order)

    def _save(self, folder: Path) -> None:
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        for index, parameter in enumerate(self._learned()):
            tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in self.optimizer.state[parameter].items()}
        checkpoint.save(folder, step=self.progress.step, tensors=tensors, values={"progress": vars(self.progress)})

    def _resume(self) -> int:
        """Take up the newest valid checkpoint, if any; return the step it was taken at."""
        found = checkpoint.newest(self.checkpoints) if self.checkpoints else None
        if found is None:
            return 0
        tensors, values = found
        self.progress = Progress(**values["progress"])
        self.model.load_state_dict(_under("model.", tensors))
        self.best = {name: tensor.to(self.model.device) for name, tensor in _under("best.", tensors).items()}
        for index, parameter in enumerate(self._learned()):
            state = _under(f"optimizer.{index}.", tensors)
            self.optimizer.state[parameter] = {name: tensor.to(parameter.device) for name, tensor in state.items()}
        return self.progress.step

    def _learned(self) -> list[Tensor]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]


def learning_rate(step: int, total: int, settings: Finetune) -> float:
    """Return the learning rate of a step (0-based): a linear warm-up, then the schedule down to 0 after the last step."""
    warm = round(total * settings.warmup_share)
    if step < warm:
        return settings.learning_rate * (step + 1) / warm
    left = (total - step) / max(1, total - warm)
    shape = {"linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2, "constant": 1.0}[settings.schedule]
    return settings.learning_rate * shape


def _optimizer(model: PreTrainedModel, settings: Finetune) -> torch.optim.Optimizer:
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [parameter for parameter in learned if parameter.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [parameter for parameter in learned if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)


def _class_weights(labels: Sequence[int], classes: int) -> Tensor:
    """Return a weight per class, inverse to its rows and 1 on average over the rows (scikit-learn's "balanced")."""
    counts = torch.bincount(torch.tensor(labels), minlength=classes).clamp(min=1)
    return len(labels) / (classes * counts.float())


def _varied(rows: Sequence[Sequence[int]]) -> list[Sequence[int]]:
    """Return rows from the shortest to the longest, evenly spread: what a batch may meet."""
    ordered = sorted(rows, key=len)
    return [ordered[round(place * (len(ordered) - 1) / (TRIED_ROWS - 1))] for place in range(TRIED_ROWS)]


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
