"""The artifact that ships: a trained classifier as one ONNX file with its tokenizer, the same bytes for the same weights.

The graph takes `input_ids` and `attention_mask`, int64 (batch, length), and gives `logits` (batch, labels) and
`sentence_embedding` (batch, size): the mean of the last hidden states of the real tokens, scaled to length 1.
"""

import io
import json
import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from evergreen.errors import ParityError
from evergreen.model.backbone import file_sha256
from evergreen.model.inference import ARTIFACT, MODEL, TOKENIZER, Calibration, Classifier
from evergreen.model.packing import padded_logits

FORMAT = 1
OPSET = 20
COMPARED_ROWS = 64


class _Shipped(nn.Module):
    """The graph that is exported: logits, and an embedding for drift and search."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        output = self.model(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True)
        mask_BL1 = attention_mask[:, :, None].to(output.logits.dtype)
        mean_BD = (output.hidden_states[-1] * mask_BL1).sum(dim=1) / mask_BL1.sum(dim=1)
        return output.logits, nn.functional.normalize(mean_BD, dim=1)


def write_artifact(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path, *, precision: str, max_tokens: int, threads: int
) -> dict[str, Any]:
    """Write model.onnx, tokenizer.json and artifact.json into `folder`; return what artifact.json says.

    `precision` is fp32 or int8 (weights quantised per channel, activations when the model runs).
    """
    folder.mkdir(parents=True, exist_ok=True)
    graph = _graph(model)
    if precision == "int8":
        graph = _quantised(graph)
    (folder / MODEL).write_bytes(graph.SerializeToString(deterministic=True))
    tokenizer.backend_tokenizer.enable_truncation(max_tokens, direction=tokenizer.truncation_side)
    tokenizer.backend_tokenizer.save(str(folder / TOKENIZER))
    hashes = {name: file_sha256(folder / name) for name in (MODEL, TOKENIZER)}
    names = model.config.id2label or {}
    labels = [name for _, name in sorted(names.items())]
    described = {
        "format": FORMAT,
        "labels": labels,
        "max_tokens": max_tokens,
        "pad_id": model.config.pad_token_id or 0,
        "precision": precision,
        "threads": threads,
        "embedding_size": model.config.hidden_size,
        "opset": OPSET,
        "sha256": hashes,
    }
    version = sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:12]
    (folder / ARTIFACT).write_text(json.dumps({"version": version, **described}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return {"version": version, **described}


def _graph(model: PreTrainedModel) -> onnx.ModelProto:
    """Export to ONNX in memory, without the names of source files that the exporter notes beside every node."""
    model.eval().to("cpu")
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    ids_BL = torch.ones(2, 8, dtype=torch.int64)
    shapes = {"input_ids": {0: "batch", 1: "length"}, "attention_mask": {0: "batch", 1: "length"}}
    try:
        with _quiet("torch.onnx"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's notes to its own developers
            program = torch.onnx.export(
                _Shipped(model),
                (ids_BL, torch.ones_like(ids_BL)),
                input_names=["input_ids", "attention_mask"],
                output_names=["logits", "sentence_embedding"],
                dynamic_shapes=shapes,
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    finally:
        model.set_attn_implementation(before)
    if program is None:
        raise ParityError("the exporter gave no graph for this model; choose another backbone")
    graph: onnx.ModelProto = program.model_proto
    _strip(graph)
    return graph


def _strip(graph: onnx.ModelProto) -> None:
    """Drop stack traces and notes: they hold paths of the machine and would change the bytes."""
    del graph.metadata_props[:]
    graph.doc_string = ""
    for part in [graph.graph, *graph.functions]:
        del part.metadata_props[:]
        part.doc_string = ""
        for node in part.node:
            del node.metadata_props[:]
            node.doc_string = ""
    for value in [*graph.graph.input, *graph.graph.output, *graph.graph.value_info, *graph.graph.initializer]:
        del value.metadata_props[:]
        value.doc_string = ""


def _quantised(graph: onnx.ModelProto) -> onnx.ModelProto:
    # The exporter's shapes of inner values contradict the quantiser's; it infers its own once they are gone.
    del graph.graph.value_info[:]
    buffer = io.BytesIO()
    with _quiet(None):
        quantize_dynamic(graph, buffer, per_channel=True, weight_type=QuantType.QInt8)
    return onnx.load_from_string(buffer.getvalue())


@contextmanager
def _quiet(name: str | None) -> Iterator[None]:
    """Let a logger, the root one for None, say errors alone for a while."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@torch.no_grad()
def parity(model: PreTrainedModel, shipped: Classifier, texts: Sequence[str]) -> dict[str, Any]:
    """Compare the artifact's answers with the trained model's on real texts.

    Returns `rows`, `max_logit_difference` (largest absolute difference of any logit) and `label_agreement` (share, 0-1).
    """
    tokens = shipped.tokens(texts)
    model.eval()
    parts = [padded_logits(model, tokens[start : start + COMPARED_ROWS]) for start in range(0, len(tokens), COMPARED_ROWS)]
    trained_NC = torch.cat(parts).numpy()
    shipped_NC = shipped.scores(texts).logits
    return {
        "rows": len(texts),
        "max_logit_difference": float(np.abs(trained_NC - shipped_NC).max()),
        "label_agreement": float((trained_NC.argmax(axis=1) == shipped_NC.argmax(axis=1)).mean()),
    }


def check_parity(found: dict[str, Any], *, max_logit_difference: float, min_label_agreement: float) -> None:
    """Raise ParityError when the artifact strays from the trained model further than allowed."""
    faults = []
    if not found["max_logit_difference"] <= max_logit_difference:
        difference = f"{found['max_logit_difference']:.4g}"
        faults.append(f"a logit differs by {difference}; at most {max_logit_difference:g} is allowed (compress.max_logit_difference)")
    if not found["label_agreement"] >= min_label_agreement:
        agreement = f"{found['label_agreement']:.1%}"
        faults.append(f"labels agree on {agreement}; at least {min_label_agreement:.1%} is asked for (compress.min_label_agreement)")
    if faults:
        raise ParityError(
            f"the exported model does not answer as the trained one on {found['rows']} rows: {'; '.join(faults)}. "
            "Set compress.precision to fp32, or widen the bound if the evaluation can bear it"
        )


def latency(shipped: Classifier, texts: Sequence[str]) -> dict[str, Any]:
    """Time single texts one after another, after a tenth of them as warm-up; milliseconds, percentiles over the texts."""
    for text in texts[: max(1, len(texts) // 10)]:
        shipped.scores([text])
    times = []
    for text in texts:
        start = time.perf_counter()
        shipped.scores([text])
        times.append(1000 * (time.perf_counter() - start))
    return {
        "requests": len(texts),
        "p50_milliseconds": round(float(np.percentile(times, 50)), 3),
        "p95_milliseconds": round(float(np.percentile(times, 95)), 3),
        "median_tokens": int(np.median([len(tokens) for tokens in shipped.tokens(texts)])),
    }


def uncalibrated(folder: Path) -> Classifier:
    """Load an artifact that no calibration has been made for yet."""
    return Classifier(folder, Calibration(temperature=1.0, threshold=0.0))
