"""The shipping artifact at work: texts in, logits, embeddings and probabilities out, with tokenizers and ONNX Runtime alone.

An artifact is a folder with `model.onnx`, `tokenizer.json` and `artifact.json` (labels, token limit, threads, hashes).
Knows nothing about torch, training or requests.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from evergreen.errors import EvidenceError

Floats = NDArray[np.float32]
MODEL, TOKENIZER, ARTIFACT = "model.onnx", "tokenizer.json", "artifact.json"
BATCH_TOKENS = 4096


@dataclass(frozen=True)
class Scores:
    """What the model says of N texts: `logits` (N, labels) before any temperature, `embeddings` (N, size), rows of length 1."""

    logits: Floats
    embeddings: Floats


@dataclass(frozen=True)
class Calibration:
    """How logits become probabilities, and from which confidence on the model answers by itself."""

    temperature: float
    threshold: float

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what the calibrate stage wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        return cls(temperature=float(content["temperature"]), threshold=float(content["threshold"]))


class Classifier:
    """An artifact, loaded. `labels` in the order of the logits; `version` identifies artifact and calibration by content.

    `alone` says that each text must run by itself. In int8 one scale is found for all activations of a run, so that a neighbour would
    move a text's probabilities, and now and then its label; in fp32 neighbours change nothing.
    `threads` are those of a single run, as the artifact says where None; several threads may call `run` at once.
    """

    def __init__(self, folder: Path, calibration: Calibration, *, threads: int | None = None) -> None:
        described = _describe(folder)
        self.labels: tuple[str, ...] = tuple(described["labels"])
        self.calibration = calibration
        self.alone: bool = described["precision"] == "int8"
        self.version = sha256(f"{described['version']} {calibration.temperature!r} {calibration.threshold!r}".encode()).hexdigest()[:12]
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self._tokenizer.no_padding()
        side = (self._tokenizer.truncation or {}).get("direction", "right")
        self._tokenizer.enable_truncation(described["max_tokens"], direction=side)
        self._pad_id: int = described["pad_id"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or described["threads"]
        options.inter_op_num_threads = 1
        options.enable_mem_pattern = False  # a plan kept for every shape met: nearly every batch has a shape of its own
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(folder / MODEL), options, providers=["CPUExecutionProvider"])

    @classmethod
    def load(cls, folder: Path, calibration: Path, *, threads: int | None = None) -> Self:
        """Load an artifact and the calibration that belongs to it."""
        return cls(folder, Calibration.load(calibration), threads=threads)

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text, cut to the model's limit."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]

    def scores(self, texts: Sequence[str]) -> Scores:
        """Return logits and embeddings of N texts, in their order. Texts of similar length share a batch, unless each must run `alone`."""
        tokens = self.tokens(texts)
        order = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
        logits: list[Floats] = [np.empty(0, np.float32)] * len(tokens)
        embeddings = list(logits)
        for rows in [[row] for row in order] if self.alone else _batches(order, [len(ids) for ids in tokens]):
            for row, logit, embedding in zip(rows, *self.run([tokens[row] for row in rows]), strict=True):
                logits[row], embeddings[row] = logit, embedding
        if not tokens:
            return Scores(np.empty((0, len(self.labels)), np.float32), np.empty((0, 0), np.float32))
        return Scores(np.stack(logits), np.stack(embeddings))

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return calibrated probabilities of N texts, shape (N, labels); each row sums to 1."""
        return softmax(self.scores(texts).logits, self.calibration.temperature)

    def run(self, tokens: Sequence[Sequence[int]]) -> tuple[Floats, Floats]:
        """Return logits (B, labels) and embeddings (B, size) of B texts' token ids, padded to the longest of them."""
        width = max(len(ids) for ids in tokens)
        ids_BL = np.full((len(tokens), width), self._pad_id, np.int64)
        mask_BL = np.zeros((len(tokens), width), np.int64)
        for row, ids in enumerate(tokens):
            ids_BL[row, : len(ids)] = ids
            mask_BL[row, : len(ids)] = 1
        logits, embeddings = self._session.run(None, {"input_ids": ids_BL, "attention_mask": mask_BL})
        return logits, embeddings


def softmax(logits: NDArray[Any], temperature: float = 1.0) -> NDArray[np.float64]:
    """Return softmax(logits / temperature) over the last axis, in float64."""
    scaled = np.asarray(logits, np.float64) / temperature
    scaled -= scaled.max(axis=-1, keepdims=True)
    exponentials = np.exp(scaled)
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def _batches(order: list[int], lengths: list[int]) -> list[list[int]]:
    """Cut rows, ordered by length, into batches of at most BATCH_TOKENS tokens, padding included."""
    batches: list[list[int]] = []
    for row in order:
        if batches and (len(batches[-1]) + 1) * lengths[row] <= BATCH_TOKENS:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def _describe(folder: Path) -> dict[str, Any]:
    """Read artifact.json and check that the files beside it are the ones it was written for."""
    try:
        described: dict[str, Any] = json.loads((folder / ARTIFACT).read_text(encoding="utf-8"))
        found = {name: sha256((folder / name).read_bytes()).hexdigest() for name in (MODEL, TOKENIZER)}
    except FileNotFoundError as missing:
        raise EvidenceError(f"{missing.filename} is missing from the artifact; run `dvc repro compress`") from None
    changed = [name for name, digest in found.items() if described["sha256"][name] != digest]
    if changed:
        raise EvidenceError(f"{folder / changed[0]} is not the file that {ARTIFACT} was written for; run `dvc repro compress`")
    return described
