"""Tiny inputs that tests share: a table of examples, and a real artifact of a few kilobytes that Classifier loads.

The artifact's model looks words up: a label's keyword (`keyword(label)`) pushes that label, every other word pushes none.
"card card please" is card with high confidence, "card savings" is torn between the two, "hello" is anyone's.
"""

import json
import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

LABELS = ("access", "card", "fraud", "savings")
FILLER = ("please", "help", "me", "with", "my", "thing", "today", "thanks")


def keyword(label: str) -> str:
    """Return the one word that speaks for a label: its letters and digits, in lower case."""
    return re.sub(r"[^a-z0-9]", "", label.lower())


def tiny_artifact(folder: Path, labels: Sequence[str] = LABELS, sharpness: float = 6.0, max_tokens: int = 16) -> Path:
    """Write an artifact for these labels into the folder and return it; the same arguments give the same bytes.

    A larger sharpness gives more confident answers. Embeddings have len(labels) + 1 numbers and length 1.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(labels)
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", *map(keyword, names)])}
    onnx.save(_look_up(len(vocabulary), len(names), sharpness), str(folder / "model.onnx"))
    _word_tokenizer(vocabulary).save(str(folder / "tokenizer.json"))
    digests = {name: sha256((folder / name).read_bytes()).hexdigest() for name in ("model.onnx", "tokenizer.json")}
    described = {
        "format": 1,
        "version": sha256("".join(digests.values()).encode()).hexdigest()[:12],
        "labels": names,
        "max_tokens": max_tokens,
        "pad_id": 0,
        "precision": "fp32",
        "threads": 1,
        "embedding_size": len(names) + 1,
        "sha256": digests,
    }
    (folder / "artifact.json").write_text(json.dumps(described, indent=2), encoding="utf-8")
    return folder


def tiny_calibration(path: Path, temperature: float = 1.0, threshold: float = 0.5) -> Path:
    """Write a calibration and return its path."""
    path.write_text(json.dumps({"temperature": temperature, "threshold": threshold}), encoding="utf-8")
    return path


def examples(rows: int, *, labels: Sequence[str] = LABELS, noise: float = 0.2, seed: int = 0, start: str = "2025-01-01") -> pd.DataFrame:
    """Return a table of examples with a time, customers of one to three rows and two groups.

    `noise` is the share of texts that speak for another label than their own: what the tiny artifact gets wrong. Rows of
    the group `first_language` "other" are wrong twice as often.
    """
    random = np.random.default_rng(seed)
    label = np.array(sorted(labels), dtype=object)[random.integers(len(labels), size=rows)]
    language = random.choice(["english", "other"], size=rows, p=[0.7, 0.3])
    wrong = random.random(rows) < np.where(language == "other", 2 * noise, noise)
    spoken = np.where(wrong, np.array(sorted(labels), dtype=object)[random.integers(len(labels), size=rows)], label)
    texts = [_sentence(str(word), random) for word in spoken]
    return pd.DataFrame(
        {
            "id": [f"E{seed}-{row:05d}" for row in range(rows)],
            "text": texts,
            "label": label.astype(str),
            "timestamp": pd.Timestamp(start) + pd.to_timedelta(random.integers(0, 90, size=rows), unit="D"),
            "customer": [f"C{seed}-{number:05d}" for number in np.sort(random.integers(0, max(1, rows // 2), size=rows))],
            "group_age_band": random.choice(["18-34", "35-59", "60+"], size=rows),
            "group_first_language": language,
        }
    )


def _sentence(label: str, random: np.random.Generator) -> str:
    words = [keyword(label), *random.choice(FILLER, size=int(random.integers(2, 14)))]
    return " ".join(random.permutation(words))


def _word_tokenizer(vocabulary: dict[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", vocabulary["[CLS]"])])
    return tokenizer


def _look_up(words: int, labels: int, sharpness: float) -> onnx.ModelProto:
    """Return a model: mean of the words' vectors over the mask, made to length 1, times a matrix."""
    table = np.zeros((words, labels + 1), np.float32)
    table[words - labels :, :labels] = np.eye(labels)
    table[1:3, labels] = (0.05, 0.2)  # [UNK] and [CLS] say little, but never nothing
    head = np.vstack([sharpness * np.eye(labels), np.zeros((1, labels))]).astype(np.float32)
    constants = {"table": table, "head": head, "one": np.array([1]), "two": np.array([2])}
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["words"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "two"], ["mask_BL1"]),
        helper.make_node("Mul", ["words", "mask_BL1"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "one"], ["sum"], keepdims=0),
        helper.make_node("ReduceL2", ["sum", "one"], ["length"], keepdims=1),
        helper.make_node("Div", ["sum", "length"], ["embedding"]),
        helper.make_node("MatMul", ["embedding", "head"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "look_up",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"]) for name in ("input_ids", "attention_mask")],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", labels]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", labels + 1]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
