"""Batches without padding give what padded ones give, for each family that takes them; the others are told apart."""

import pytest
import torch

from evergreen.model import packing
from evergreen.model.packing import longest_row, pack, packed_logits, packs, padded_logits
from tests.model_factories import FAMILIES, LONGEST, PADDED_FAMILIES, classifier, token_rows

LENGTHS = {
    "mixed": (7, 2, 19, 40, 3, 8, 9),
    "one row": (11,),
    "one token": (1,),
    "rows of one token": (1, 1, 1),
    "one token beside the longest": (1, LONGEST, 1),
    "equal": (6, 6, 6, 6),
    "bucket edges": (1, 2, 3, 4, 5, 8, 9, 16, 17, 32, 33),
}


def gradients(model, forward, rows):
    """Return the gradient of the loss over these rows for each parameter that has one."""
    model.zero_grad(set_to_none=True)
    target = torch.arange(len(rows)) % model.config.num_labels
    torch.nn.functional.cross_entropy(forward(model, rows), target).backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("family", FAMILIES)
def test_packed_logits_are_the_padded_ones_row_by_row(tiny, family, lengths):
    model = classifier(tiny(family)).eval()
    rows = token_rows(*lengths)
    with torch.no_grad():
        packed, padded = packed_logits(model, rows), padded_logits(model, rows)
    torch.testing.assert_close(packed, padded, rtol=1e-4, atol=1e-4)
    if len(set(map(tuple, rows))) > 1:
        assert padded.std(dim=0).max() > 0.1, "rows that answer alike would prove nothing"


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_gradients_are_the_padded_ones(tiny, family):
    model = classifier(tiny(family)).eval()
    rows = token_rows(*LENGTHS["mixed"])
    packed, padded = gradients(model, packed_logits, rows), gradients(model, padded_logits, rows)
    assert packed.keys() == padded.keys()
    largest = max(float(gradient.abs().max()) for gradient in padded.values())
    assert largest > 0.1
    for name, gradient in padded.items():
        torch.testing.assert_close(packed[name], gradient, rtol=1e-3, atol=1e-5 * largest, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("family", FAMILIES)
def test_families_that_pack_say_so(tiny, family):
    assert packs(classifier(tiny(family)), token_rows(*LENGTHS["mixed"]))


@pytest.mark.parametrize("family", PADDED_FAMILIES)
def test_a_family_that_answers_otherwise_packed_is_told_apart_without_an_error(tiny, family):
    assert packs(classifier(tiny(family)), token_rows(*LENGTHS["mixed"])) is False


def test_a_wrong_stream_is_told_apart_even_when_a_fresh_head_makes_all_logits_small(tiny):
    model = classifier(tiny("mobilebert"))
    with torch.no_grad():
        model.classifier.weight.mul_(1e-5)
    rows = token_rows(*LENGTHS["mixed"])
    with torch.no_grad():
        assert (packed_logits(model.eval(), rows) - padded_logits(model, rows)).abs().max() < 1e-4
    assert not packs(model, rows)


@pytest.mark.parametrize("training", [True, False])
def test_trying_leaves_the_model_as_it_was(tiny, training):
    model = classifier(tiny()).train(training)
    attention, rows = model.config._attn_implementation, token_rows(5, 9, 2)
    packs(model, rows)
    assert (model.training, model.config._attn_implementation) == (training, attention)
    assert not model.bert.encoder._forward_hooks


def test_an_error_inside_the_model_leaves_no_hook_behind(tiny):
    model = classifier(tiny())
    with pytest.raises(IndexError):
        packed_logits(model, [[10_000]])
    assert not model.bert.encoder._forward_hooks
    assert model.config._attn_implementation != packing.ATTENTION


def test_the_stream_holds_each_real_token_once_and_no_padding():
    rows = token_rows(3, 1, 5)
    stream = pack(rows, first_position=2, device=torch.device("cpu"))
    assert stream.ids_1T.tolist() == [[token for row in rows for token in row]]
    assert stream.positions_1T.tolist() == [[2, 3, 4, 2, 2, 3, 4, 5, 6]]
    assert stream.firsts_B.tolist() == [0, 3, 4]
    places = torch.cat([group.places_N for group in stream.groups])
    assert sorted(places.tolist()) == list(range(9))


def test_no_group_is_padded_beyond_half():
    stream = pack(token_rows(*range(1, 34)), first_position=0, device=torch.device("cpu"))
    for group in stream.groups:
        assert group.index_GL.numel() <= 2 * len(group.real_N)


def test_rows_do_not_see_one_another(tiny):
    model = classifier(tiny()).eval()
    one, other, changed = token_rows(9, 12, 12)
    with torch.no_grad():
        torch.testing.assert_close(packed_logits(model, [one, other])[0], packed_logits(model, [one, changed])[0])


def test_dropout_is_drawn_from_torchs_seed(tiny):
    model, rows = classifier(tiny()).train(), token_rows(9, 12, 30)
    drawn = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        drawn.append(packed_logits(model, rows).detach())
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("family", [*sorted(FAMILIES.keys() - {"modernbert", "modernbert-mean"}), "mpnet"])
def test_the_longest_row_is_the_longest_that_the_model_takes(tiny, family):
    model = classifier(tiny(family)).eval()
    assert longest_row(model) == LONGEST
    padded_logits(model, token_rows(LONGEST))
    with pytest.raises((IndexError, RuntimeError)):
        padded_logits(model, token_rows(LONGEST + 1))


@pytest.mark.parametrize("family", ["modernbert", "gpt2"])
def test_a_model_without_a_table_of_positions_names_no_longest_row(tiny, family):
    assert longest_row(classifier(tiny(family))) is None
