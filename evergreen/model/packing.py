"""Batches without padding: the real tokens of a batch as one stream through a transformers model.

Linear layers, layer norms and activations then cost what the real tokens cost; only attention, computed in groups of
rows of similar length, pads a little inside a group. The stream enters through two seams that transformers offers:
a registered attention function, and a forward hook that hands one vector of each row to the pooler and the head.
`packs` proves on real rows that a model answers alike both ways; where it does not, batches are padded.

Knows nothing about losses, optimisers or files.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

ATTENTION = "evergreen_packed"
TOLERANCE = 1e-3  # of the logits' spread from row to row: rounding stays below a thousandth of it, a wrong stream does not
BEYOND = -1e9  # attention bias outside a window; finite, because a padded place may see nothing else


@dataclass(frozen=True)
class Group:
    """Rows of similar length inside a stream of T tokens.

    `index_GL` holds each row's token places in the stream (padding repeats the row's first token), `bias_G11L` is 0 for
    a real token and -inf for padding (None when no row of the group is padded), `real_N` picks the real places of the
    flattened (G, L) grid and `places_N` says where in the stream they belong.
    """

    index_GL: Tensor
    bias_G11L: Tensor | None
    real_N: Tensor
    places_N: Tensor


@dataclass(frozen=True)
class Stream:
    """B rows as one stream: `ids_1T`, `positions_1T`, `firsts_B` (place of each row's first token), attention `groups`."""

    ids_1T: Tensor
    positions_1T: Tensor
    firsts_B: Tensor
    groups: tuple[Group, ...]


def pack(rows: Sequence[Sequence[int]], *, first_position: int, device: torch.device) -> Stream:
    """Lay B rows of token ids end to end. `first_position` is the position id of a row's first token."""
    lengths = [len(row) for row in rows]
    firsts = [0]
    for length in lengths[:-1]:
        firsts.append(firsts[-1] + length)
    ids = torch.tensor([[token for row in rows for token in row]], device=device)
    positions = torch.cat([torch.arange(length) for length in lengths])[None] + first_position
    groups = tuple(_group([firsts[row] for row in members], [lengths[row] for row in members], device) for members in _buckets(lengths))
    return Stream(ids, positions.to(device), torch.tensor(firsts, device=device), groups)


def _buckets(lengths: Sequence[int]) -> list[list[int]]:
    """Put rows whose lengths share a power of two together: at most half of a group is padding, and groups are few."""
    buckets: dict[int, list[int]] = {}
    for row, length in enumerate(lengths):
        buckets.setdefault((length - 1).bit_length(), []).append(row)
    return [buckets[size] for size in sorted(buckets)]


def _group(firsts: list[int], lengths: list[int], device: torch.device) -> Group:
    width = max(lengths)
    firsts_G1, lengths_G1 = torch.tensor(firsts)[:, None], torch.tensor(lengths)[:, None]
    steps_1L = torch.arange(width)[None]
    real_GL = steps_1L < lengths_G1
    index_GL = firsts_G1 + steps_1L * real_GL
    bias = None if bool(real_GL.all()) else torch.zeros(real_GL.shape).masked_fill(~real_GL, float("-inf"))[:, None, None]
    real_N = real_GL.flatten().nonzero().flatten()
    places_N = index_GL.flatten()[real_N]
    return Group(index_GL.to(device), None if bias is None else bias.to(device), real_N.to(device), places_N.to(device))


def _attend(
    module: nn.Module,
    query_1HTD: Tensor,
    key_1HTD: Tensor,
    value_1HTD: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    evergreen_groups: tuple[Group, ...],
    **_: Any,
) -> tuple[Tensor, None]:
    """Attend within each row of the stream, group by group; in float32, whose backward pass is the faster one on a CPU.

    With a `sliding_window` a token sees only those of its row that are fewer places away.
    """
    heads, size = query_1HTD.shape[1], query_1HTD.shape[3]
    streams_THD = [tensor[0].transpose(0, 1) for tensor in (query_1HTD, key_1HTD, value_1HTD)]
    out_TC = streams_THD[0].new_zeros(query_1HTD.shape[2], heads * size)
    for group in evergreen_groups:
        query, key, value = (stream[group.index_GL].transpose(1, 2).float() for stream in streams_THD)
        with torch.autocast(query.device.type, enabled=False):
            mixed_GHLD = nn.functional.scaled_dot_product_attention(
                query, key, value, attn_mask=_bias(group, sliding_window), dropout_p=dropout if module.training else 0.0, scale=scaling
            )
        rows_NC = mixed_GHLD.transpose(1, 2).reshape(-1, heads * size)[group.real_N]
        out_TC = out_TC.index_copy(0, group.places_N, rows_NC.to(out_TC.dtype))
    return out_TC.view(1, -1, heads, size), None


def _bias(group: Group, window: int | None) -> Tensor | None:
    length = group.index_GL.shape[1]
    if window is None or length <= window:
        return group.bias_G11L
    steps_L = torch.arange(length, device=group.index_GL.device)
    far_LL = (steps_L[:, None] - steps_L).abs() >= window
    band_11LL = torch.zeros(far_LL.shape, device=far_LL.device).masked_fill(far_LL, BEYOND)[None, None]
    return band_11LL if group.bias_G11L is None else band_11LL + group.bias_G11L


AttentionInterface.register(ATTENTION, _attend)


@contextmanager
def _seams(model: PreTrainedModel, firsts_B: Tensor) -> Iterator[None]:
    """Switch the model to packed attention, and let everything after its encoder see one vector of each of the B rows."""
    pooling = getattr(model.config, "classifier_pooling", "cls")

    def one_vector_a_row(_: nn.Module, __: Any, output: Any) -> Any:
        states_TD = output.last_hidden_state[0]
        output.last_hidden_state = (_means(states_TD, firsts_B) if pooling == "mean" else states_TD[firsts_B])[:, None]
        return output

    before = model.config._attn_implementation
    hook = _encoder(model).register_forward_hook(one_vector_a_row)
    model.config._attn_implementation = ATTENTION
    try:
        yield
    finally:
        model.config._attn_implementation = before
        hook.remove()


def _means(states_TD: Tensor, firsts_B: Tensor) -> Tensor:
    return torch.stack([row_LD.mean(dim=0) for row_LD in states_TD.tensor_split(firsts_B[1:].cpu())])


def _encoder(model: PreTrainedModel) -> nn.Module:
    """Return the module behind which the pooler or the head begins: the encoder, or the whole base where it has none."""
    base: nn.Module = model.base_model
    return next((part for name, part in base.named_children() if name in ("encoder", "transformer")), base)


def packed_logits(model: PreTrainedModel, rows: Sequence[Sequence[int]]) -> Tensor:
    """Return the logits (B, labels) of B rows of token ids, as one stream without padding."""
    stream = pack(rows, first_position=_first_position(_positions(model)), device=model.device)
    with _seams(model, stream.firsts_B):
        output = model(
            input_ids=stream.ids_1T, position_ids=stream.positions_1T, evergreen_groups=stream.groups, **_segments(model, stream)
        )
    logits_BC: Tensor = output.logits
    return logits_BC


def longest_row(model: PreTrainedModel) -> int | None:
    """Return how many tokens a row may have; None where the model has no table of positions."""
    table = _positions(model)
    return None if table is None else table.num_embeddings - _first_position(table)


def _positions(model: PreTrainedModel) -> nn.Embedding | None:
    parts = (part for name, part in model.base_model.named_modules() if name.endswith("position_embeddings"))
    return next((part for part in parts if isinstance(part, nn.Embedding)), None)


def _first_position(table: nn.Embedding | None) -> int:
    """Return the position of a row's first token: RoBERTa and its kin leave a place for padding, which the table names."""
    return 0 if table is None or table.padding_idx is None else table.padding_idx + 1


def _segments(model: PreTrainedModel, stream: Stream) -> dict[str, Tensor]:
    """Return explicit segment ids where the model has them: its own buffer ends at the longest row, not at the stream's end."""
    return {"token_type_ids": torch.zeros_like(stream.ids_1T)} if getattr(model.config, "type_vocab_size", 0) else {}


def padded_logits(model: PreTrainedModel, rows: Sequence[Sequence[int]]) -> Tensor:
    """Return the logits (B, labels) of B rows of token ids, padded to the longest."""
    width = max(len(row) for row in rows)
    pad = model.config.pad_token_id or 0
    ids_BL = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows], device=model.device)
    mask_BL = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=model.device)
    logits_BC: Tensor = model(input_ids=ids_BL, attention_mask=mask_BL).logits
    return logits_BC


@torch.no_grad()
def packs(model: PreTrainedModel, rows: Sequence[Sequence[int]]) -> bool:
    """Say whether the model gives the same logits packed as padded, by trying it on rows of different lengths.

    The difference is measured against how far the logits of these rows lie apart: a fresh head makes all of them small.
    """
    training = model.training
    model.eval()
    try:
        packed = packed_logits(model, rows)
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        # A backbone of another build (other seams, other positions) fails in its own way; padding serves it.
        return False
    else:
        plain = padded_logits(model, rows)
        spread = (plain - plain.mean(dim=0)).abs().max()
        return packed.shape == plain.shape and bool((packed - plain).abs().max() <= TOLERANCE * spread)
    finally:
        model.train(training)
