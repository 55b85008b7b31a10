"""Backbones of a few kilobytes with random weights, saved as the hub has them, and rows of token ids for them."""

import random
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, PreTrainedModel, PreTrainedTokenizerFast

from evergreen.model import backbone
from evergreen.model.averaging import Averaging
from evergreen.model.training import Encoded, Trained, Training
from evergreen.sections.pipeline import Finetune
from tests.evaluation_factories import knobs
from tests.factories import FILLER, LABELS

CLS, PAD, SEP, UNK = range(4)  # the padding's id is not 0: whoever forgets to pass it on is found out
VOCABULARY = ("[CLS]", "[PAD]", "[SEP]", "[UNK]", *LABELS, *FILLER, *"abcdefghijklmnopqrstuvwxyz", *(f"##{c}" for c in "aeinorst"))
LONGEST = 40

SMALL = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": LONGEST,
    "pad_token_id": PAD,
    "initializer_range": 0.3,  # the usual 0.02 makes so small a model answer every row alike
}
OFFSET = {"max_position_embeddings": LONGEST + PAD + 1}  # of families that count positions from the padding's id on
FAMILIES: dict[str, dict[str, Any]] = {
    "bert": {},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64},
    "roberta": OFFSET,
    "xlm-roberta": OFFSET,
    "camembert": OFFSET,
    "data2vec-text": OFFSET,
    "electra": {"embedding_size": 16},
    "albert": {"embedding_size": 16},
    "modernbert": {"local_attention": 8, "classifier_pooling": "cls"},
    "modernbert-mean": {"local_attention": 8, "classifier_pooling": "mean"},
}
PADDED_FAMILIES: dict[str, dict[str, Any]] = {
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "mpnet": OFFSET,
    "mobilebert": {"true_hidden_size": 32, "intra_bottleneck_size": 32, "embedding_size": 32},
    "gpt2": {"n_embd": 32, "n_head": 4, "n_layer": 2},
}
SHORT: dict[str, Any] = {
    "mode": "full",
    "start": None,
    "class_weights": "none",
    "members": 1,
    "epochs": 3,
    "batch_size": 8,
    "learning_rate": 3e-3,
    "warmup_share": 0.1,
    "schedule": "linear",
    "gradient_clip": 1.0,
    "label_smoothing": 0.0,
    "patience": 3,
    "keep": "best",
    "precision": "fp32",
    "device": "cpu",
    "threads": 1,
    "checkpoint_steps": 2,
    "tensorboard": False,
    "seed": 17,
}


def backbone_folder(folder: Path, family: str = "bert", *, dropout: float = 0.1) -> Path:
    """Save a random backbone of this family (the same arguments give the same bytes) and return its folder."""
    fields = {**SMALL, **{**FAMILIES, **PADDED_FAMILIES}[family]}
    config = AutoConfig.for_model(family.removesuffix("-mean"), **fields)
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout"):
        if hasattr(config, name):
            setattr(config, name, dropout)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModel.from_config(config, dtype=torch.float32).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def tokenizer(**settings: Any) -> PreTrainedTokenizerFast:
    """Return a WordPiece tokenizer that knows the labels, the filler words and the letters."""
    pieces = Tokenizer(models.WordPiece({piece: number for number, piece in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    pieces.normalizer = normalizers.Lowercase()
    pieces.pre_tokenizer = pre_tokenizers.Whitespace()
    pieces.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)])
    return PreTrainedTokenizerFast(
        tokenizer_object=pieces, cls_token="[CLS]", pad_token="[PAD]", sep_token="[SEP]", unk_token="[UNK]", **settings
    )


def classifier(folder: Path, labels: Sequence[str] = LABELS) -> PreTrainedModel:
    """Load the backbone in the folder with a head for these labels: the same one each time, its answers far apart."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        found = backbone.find(str(folder), revision=None, expected=None, allow_download=False)
        return backbone.load_model(found, labels=list(labels), source="tests/tiny")


def token_rows(*lengths: int, seed: int = 0) -> list[list[int]]:
    """Return rows of token ids of these lengths, none of them padding."""
    draw = random.Random(seed)
    return [[CLS, *(draw.randrange(UNK, len(VOCABULARY)) for _ in range(length - 1))] for length in lengths]


def encoded(rows: int, *, seed: int = 0, labels: int = len(LABELS)) -> Encoded:
    """Return rows of 3 to 20 tokens in which the label's own word stands, and the labels."""
    draw = random.Random(seed)
    chosen = [draw.randrange(labels) for _ in range(rows)]
    words = [[draw.randrange(UNK + 1 + len(LABELS), len(VOCABULARY)) for _ in range(draw.randrange(1, 18))] for _ in range(rows)]
    return Encoded([[CLS, UNK + 1 + label, *few, SEP] for label, few in zip(chosen, words, strict=True)], chosen)


def settings(**fields: Any) -> Finetune:
    """Return the knobs of a short training on one thread, with some fields replaced."""
    return knobs(finetune={**SHORT, **fields}).finetune


def trained(folder: Path, *, checkpoints: Path | None = None, rows: int = 40, **fields: Any) -> SimpleNamespace:
    """Train on the backbone in the folder; return the `model` and what the training `did`."""
    training = started(folder, checkpoints=checkpoints, rows=rows, **fields)
    did: Trained = training.run()
    return SimpleNamespace(model=training.model, did=did)


def started(folder: Path, *, checkpoints: Path | None = None, rows: int = 40, **fields: Any) -> Training:
    """Return a training that is about to run. `on_step` and `log` go to it, every other field to the settings."""
    return Training(classifier(folder), **_asked(checkpoints, rows, fields))


def averaging(folder: Path, *, checkpoints: Path | None = None, rows: int = 40, **fields: Any) -> Averaging:
    """Return trainings that are about to run and be averaged, asked for as `started` is."""
    return Averaging(classifier(folder), **_asked(checkpoints, rows, fields))


def _asked(checkpoints: Path | None, rows: int, fields: dict[str, Any]) -> dict[str, Any]:
    calls = {name: fields.pop(name) for name in ("on_step", "log") if name in fields}
    data = {"train": fields.pop("train", None) or encoded(rows), "validation": fields.pop("validation", None) or encoded(20, seed=1)}
    return {**calls, **data, "settings": settings(**fields), "precision": "fp32", "checkpoints": checkpoints}
