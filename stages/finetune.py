"""Backbone + train split -> classifier: safetensors, configuration and tokenizer, with its history."""

import csv
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
from transformers import PreTrainedModel

from evergreen.config import Params
from evergreen.data.records import read_table
from evergreen.errors import TrainingError
from evergreen.model import backbone, environment
from evergreen.model.averaging import Averaged, Averaging
from evergreen.model.packing import longest_row
from evergreen.model.training import Encoded
from evergreen.release import dependencies
from evergreen.reports import write_report
from evergreen.sections.pipeline import Finetune
from evergreen.wording import counted
from stages._progress import progress
from stages._run import Afterwards, home, main, say

CONSTRAINTS = Path("constraints.txt")
NOT_IN_FINGERPRINT = {"checkpoint_steps", "tensorboard"}  # neither changes a weight


def finetune(params: Params, inputs: SimpleNamespace, outputs: SimpleNamespace) -> Afterwards:
    """Train on `splits`, watch the validation split, write `model`, `report` and `curve`; return what clears the checkpoints."""
    settings = params.finetune
    environment.fix(threads=settings.threads, seed=settings.seed)
    tables = {name: read_table(inputs.splits / f"{name}.parquet", columns=["text", "label"]) for name in ("train", "validation")}
    labels = _labels(tables)
    found = _found(settings)
    tokenizer = backbone.load_tokenizer(found.folder)
    model = backbone.load_model(found, labels=labels, source=settings.backbone.source)
    backbone.settle_padding(model, tokenizer, source=settings.backbone.source)
    _check_length(settings.max_tokens, model)
    device = environment.device(settings.device)
    precision = environment.precision(settings.precision, device)
    identity = _identity(settings, found, tokenizer, inputs.splits, {"precision": precision, **environment.describe(device)})
    place = home() / "checkpoints" / identity["fingerprint"]
    encoded = {name: _encode(table, tokenizer, labels, settings.max_tokens) for name, table in tables.items()}
    with progress("training") as step, _logger(settings, identity["fingerprint"]) as log:
        averaging = Averaging(
            model.to(device),  # type: ignore[arg-type]  # the library's decorator hides whose method it is
            settings=settings,
            checkpoints=place,
            on_step=lambda done, total, member, epoch, loss: step(done, total, _where(settings, member, epoch, loss)),
            log=log,
            train=encoded["train"],
            validation=encoded["validation"],
            precision=precision,
        )
        _announce(averaging, precision, device.type)
        averaged = averaging.run()
    model.to("cpu").save_pretrained(outputs.model)  # type: ignore[arg-type]
    tokenizer.save_pretrained(outputs.model)
    report = _report(params, found, averaging, averaged, labels, identity, outputs.model)
    write_report(report, outputs.report)
    _write_curve(report["history"], outputs.curve)
    say(f"{_kept(averaged)}: validation loss {averaged.validation_loss:.3f}, accuracy {averaged.validation_accuracy:.1%}")
    # This run's checkpoints, and those of runs that were given up: the stage's lock says that nobody is at work on them.
    return partial(shutil.rmtree, place.parent, ignore_errors=True)


def _found(settings: Finetune) -> backbone.Found:
    """Return what training starts from: the backbone, or a classifier that was trained from it before."""
    source, start = settings.backbone, settings.start
    if start is None:
        found = backbone.find(source.source, revision=source.revision, expected=source.sha256, allow_download=source.allow_download)
        say(f"backbone {source.source} from {found.place}, weights verified ({found.weights_sha256[:12]})")
    else:
        found = backbone.find(start.source, revision=None, expected=start.sha256, allow_download=False)
        say(f"goes on from the weights in {start.source}, verified ({found.weights_sha256[:12]})")
    return found


def _labels(tables: dict[str, pd.DataFrame]) -> list[str]:
    labels = sorted(tables["train"]["label"].unique())
    strangers = sorted(set(tables["validation"]["label"]) - set(labels))
    if strangers:
        raise TrainingError(
            f"the validation split has labels that the train split lacks: {', '.join(strangers)}; run `dvc repro split` again"
        )
    if len(labels) < 2:
        raise TrainingError(f"the train split has {len(labels)} label; a classifier needs at least two")
    return labels


def _check_length(max_tokens: int, model: PreTrainedModel) -> None:
    longest = longest_row(model)
    if longest is not None and max_tokens > longest:
        raise TrainingError(f"finetune.max_tokens is {max_tokens}, but the backbone takes at most {longest}; lower it")


def _encode(table: pd.DataFrame, tokenizer: Any, labels: list[str], max_tokens: int) -> Encoded:
    index = {label: place for place, label in enumerate(labels)}
    rows = tokenizer(table["text"].tolist(), truncation=True, max_length=max_tokens)["input_ids"]
    return Encoded(rows, [index[label] for label in table["label"]])


def _identity(settings: Finetune, found: backbone.Found, tokenizer: Any, splits: Path, machine: dict[str, Any]) -> dict[str, Any]:
    """Return the recorded tuple that decides the weights' bytes, and its fingerprint."""
    strays = dependencies.strays(CONSTRAINTS.read_text(encoding="utf-8"))
    if strays:
        named = ", ".join(f"{name} {version}" for name, version in strays.items())
        say(f"WARNING: not the pinned versions: {named}; the weights may differ from what {CONSTRAINTS} gives; the record says so")
    code = [*sorted(Path(backbone.__file__).parent.glob("*.py")), Path(__file__)]
    tuple_ = {
        "data_sha256": _digest([splits / "train.parquet", splits / "validation.parquet"]),
        "backbone_sha256": found.weights_sha256,
        "backbone_config_sha256": backbone.file_sha256(found.folder / "config.json"),
        "tokenizer_sha256": sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest(),
        "dependencies_sha256": _digest([CONSTRAINTS]),
        "dependencies_not_as_pinned": strays,
        "code_sha256": _digest(code),
        "params": settings.model_dump(mode="json", exclude=NOT_IN_FINGERPRINT),
        **machine,
    }
    return {"fingerprint": sha256(repr(sorted(tuple_.items())).encode()).hexdigest()[:16], **tuple_}


def _digest(paths: list[Path]) -> str:
    return sha256("".join(backbone.file_sha256(path) for path in paths).encode()).hexdigest()


@contextmanager
def _logger(settings: Finetune, name: str) -> Iterator[Any]:
    """Give a function that takes (name, value, step): TensorBoard's where it is asked for, else one that does nothing."""
    if not settings.tensorboard:
        yield lambda *_: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise TrainingError(
            "finetune.tensorboard is true, but TensorBoard is not installed; `pip install -c constraints.txt .[tensorboard]`"
        ) from None
    folder = home() / "tensorboard" / name
    say(f"TensorBoard files in {folder}; watch them with `tensorboard --logdir {folder.parent}`")
    with SummaryWriter(folder) as writer:
        yield writer.add_scalar


def _where(settings: Finetune, member: int, epoch: int, loss: float) -> str:
    which = f"training {member} of {settings.members} · " if settings.members > 1 else ""
    return f"{which}epoch {epoch} · loss {loss:.3f}"


def _kept(averaged: Averaged) -> str:
    if len(averaged.members) > 1:
        return f"averaged the weights of {counted(len(averaged.members), 'training')}"
    return f"kept epoch {averaged.members[0].best_epoch} of {len(averaged.members[0].history)}"


def _announce(averaging: Averaging, precision: str, device: str) -> None:
    settings, training = averaging.settings, averaging.training
    where = f"{settings.threads} CPU threads" if device == "cpu" else "CUDA"
    batches = "without padding" if training.packed else "padded (this backbone does not take an unpadded stream)"
    times = f"{counted(settings.members, 'training')} of " if settings.members > 1 else ""
    say(f"{len(training.train.rows):,} rows, {times}up to {counted(settings.epochs, 'epoch')} of {training.steps_per_epoch:,} steps · "
        f"{precision} on {where} · batches {batches}")  # fmt: skip
    if averaging.resumed_from:
        say(f"going on from the checkpoint at step {averaging.resumed_from:,}")


def _report(
    params: Params,
    found: backbone.Found,
    averaging: Averaging,
    averaged: Averaged,
    labels: list[str],
    identity: dict[str, Any],
    folder: Path,
) -> dict[str, Any]:
    settings, training, members = params.finetune, averaging.training, averaged.members
    history = [{"member": number, **epoch} for number, one in enumerate(members, start=1) for epoch in one.history]
    return {
        "backbone": {
            "source": settings.backbone.source,
            "revision": settings.backbone.revision,
            "sha256": found.weights_sha256 if settings.start is None else settings.backbone.sha256,
            "model_type": found.model_type,
            "parameters": sum(parameter.numel() for parameter in training.model.parameters()),
        },
        "start": None if settings.start is None else settings.start.model_dump(),
        "mode": settings.mode,
        "labels": labels,
        "rows": len(training.train.rows),
        "validation_rows": len(training.validation.rows),
        "members": len(members),
        "epochs_run": len(history),
        "kept_epochs": [one.best_epoch for one in members],
        "validation_loss": averaged.validation_loss,
        "validation_accuracy": averaged.validation_accuracy,
        "steps": sum(one.steps for one in members),
        "tokens": sum(one.tokens for one in members),
        "packed": training.packed,
        "precision": identity["precision"],
        "device": training.model.device.type if identity["gpu"] is None else identity["gpu"],
        "threads": settings.threads,
        "seed": settings.seed,
        "weights_sha256": backbone.file_sha256(folder / backbone.WEIGHTS),
        "tuple": identity,
        "history": history,
    }


def _write_curve(history: list[dict[str, Any]], path: Path) -> None:
    """Write an epoch per line; `pass` counts them over all trainings, so that a plot has one line to draw."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=["pass", *history[0]], lineterminator="\n")
        writer.writeheader()
        writer.writerows({"pass": number, **epoch} for number, epoch in enumerate(history, start=1))


if __name__ == "__main__":
    main(finetune)
