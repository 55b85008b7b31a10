"""Fine-tuning: interrupted anywhere it ends with the same bits, it stops when it should, and each knob does what it says."""

import math
import shutil

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from evergreen.errors import TrainingError
from evergreen.model import training
from evergreen.model.training import Encoded, learning_rate
from tests.model_factories import classifier, encoded, settings, started, trained

STEPS, EPOCH = 15, 5  # of 40 rows in batches of 8, three epochs


class Killed(Exception):
    """Stands for a SIGKILL: nothing in the training catches it."""


def kill_at(step):
    def on_step(done, *_):
        if done == step:
            raise Killed

    return on_step


def interrupted(folder, checkpoints, *steps, **fields):
    """Train, killed at each of these steps in turn, then to the end."""
    for step in steps:
        with pytest.raises(Killed):
            trained(folder, checkpoints=checkpoints, on_step=kill_at(step), **fields)
    return trained(folder, checkpoints=checkpoints, **fields)


def assert_same(one, other):
    assert one.did == other.did
    expected = other.model.state_dict()
    for name, tensor in one.model.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


@pytest.fixture(scope="module")
def undisturbed(tiny):
    torch.set_num_threads(1)
    return trained(tiny())


@pytest.mark.parametrize("step", [1, 2, 4, 5, 6, 11, 15])
def test_a_killed_training_resumes_to_the_same_weights_and_history(tiny, tmp_path, undisturbed, step):
    assert_same(interrupted(tiny(), tmp_path, step), undisturbed)


def test_a_training_killed_again_and_again_ends_with_the_same_weights(tiny, tmp_path, undisturbed):
    assert_same(interrupted(tiny(), tmp_path, 3, 4, 7, 8, 13), undisturbed)


@pytest.mark.parametrize(
    "fields",
    [
        {"mode": "frozen"},
        {"keep": "last"},
        {"class_weights": "balanced", "label_smoothing": 0.1, "schedule": "cosine"},
        {"checkpoint_steps": 5},
        {"patience": 1, "learning_rate": 0.1, "epochs": 8},
    ],
    ids=["frozen", "last", "weights", "at epoch ends", "patience"],
)
def test_every_way_of_training_resumes(tiny, tmp_path, fields):
    assert_same(interrupted(tiny(), tmp_path, 6, **fields), trained(tiny(), **fields))


def test_a_padded_family_resumes_too(tiny, tmp_path):
    whole = trained(tiny("deberta-v2"))
    assert not whole.did.packed
    assert_same(interrupted(tiny("deberta-v2"), tmp_path, 7), whole)


@pytest.mark.parametrize("content", [None, b"", b"nonsense"], ids=["truncated", "emptied", "altered"])
def test_a_damaged_newest_checkpoint_costs_steps_but_changes_nothing(tiny, tmp_path, undisturbed, content):
    with pytest.raises(Killed):
        trained(tiny(), checkpoints=tmp_path, on_step=kill_at(9))
    state = tmp_path / "step-00000008" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-100] if content is None else content)
    run = started(tiny(), checkpoints=tmp_path)
    assert run.resumed_from == 6
    run.run()
    assert torch.equal(run.model.classifier.weight, undisturbed.model.classifier.weight)


def test_a_resumed_training_says_from_which_step(tiny, tmp_path):
    with pytest.raises(Killed):
        trained(tiny(), checkpoints=tmp_path, on_step=kill_at(5))
    assert started(tiny(), checkpoints=tmp_path).resumed_from == 4
    shutil.rmtree(tmp_path)
    assert started(tiny(), checkpoints=tmp_path).resumed_from == 0


def test_the_seed_decides_the_weights(tiny, undisturbed):
    assert_same(trained(tiny()), undisturbed)
    assert not torch.equal(trained(tiny(), seed=18).model.classifier.weight, undisturbed.model.classifier.weight)


def test_a_training_learns_what_the_texts_say(tiny):
    history = trained(tiny(dropout=0.0), learning_rate=2e-3, epochs=6, rows=240).did.history
    assert history[0]["validation_accuracy"] < 0.8
    assert history[-1]["validation_accuracy"] > 0.95
    assert history[-1]["train_loss"] < history[0]["train_loss"] / 4


def test_the_best_epochs_weights_are_kept_or_the_last_ones(tiny):
    fields = {"learning_rate": 0.1, "epochs": 5, "patience": 0, "schedule": "constant"}
    best, last = (started(tiny(), keep=keep, **fields) for keep in ("best", "last"))
    did, did_last = best.run(), last.run()
    losses = [epoch["validation_loss"] for epoch in did.history]
    assert did.history == did_last.history
    assert did.best_epoch == 1 + int(np.argmin(losses)) < 5, "a rate this high must make a later epoch worse"
    assert did_last.best_epoch == 5
    assert best.validate()[0] == min(losses)
    assert last.validate()[0] == losses[-1]


def test_training_stops_after_as_many_worse_epochs_as_the_patience(tiny, monkeypatch):
    def losses(*values):
        answers = iter(values)
        monkeypatch.setattr(training.Training, "validate", lambda _: (next(answers), 0.5))

    losses(3, 2, 2.5, 2, 1)
    did = trained(tiny(), epochs=9, patience=2).did
    assert (len(did.history), did.best_epoch, did.steps) == (4, 2, 20)
    losses(3, 2, 2.5, 2, 1)
    assert (did := trained(tiny(), epochs=5, patience=3).did).best_epoch == 5 == len(did.history)
    losses(1, 2, 3, 4, 5, 6)
    assert len(trained(tiny(), epochs=6, patience=0).did.history) == 6


def test_class_weights_are_scikit_learns_balanced_ones():
    labels = encoded(200, seed=3).labels + [2] * 50
    expected = compute_class_weight("balanced", classes=np.arange(4), y=labels)
    torch.testing.assert_close(training._class_weights(labels, 4), torch.tensor(expected, dtype=torch.float32))


def test_class_weights_and_label_smoothing_enter_the_loss(tiny):
    plain, weighted, smoothed = (
        trained(tiny(), train=skewed(), epochs=1, **fields).did.history[0]["train_loss"]
        for fields in ({}, {"class_weights": "balanced"}, {"label_smoothing": 0.3})
    )
    assert len({round(loss, 4) for loss in (plain, weighted, smoothed)}) == 3


def skewed():
    every = encoded(80, seed=4)
    kept = [row for row, label in enumerate(every.labels) if label == 0 or row % 3 == 0]
    return Encoded([every.rows[row] for row in kept], [every.labels[row] for row in kept])


@pytest.mark.parametrize(("smoothing", "weights"), [(0.0, "none"), (0.2, "none"), (0.0, "balanced")])
def test_the_first_steps_loss_is_the_cross_entropy_asked_for(tiny, smoothing, weights):
    seen = []
    train = skewed()
    run = started(
        tiny(dropout=0.0),
        train=train,
        batch_size=len(train.rows),
        epochs=1,
        label_smoothing=smoothing,
        class_weights=weights,
        on_step=lambda *call: seen.append(call),
    )
    with torch.no_grad():
        logs = torch.log_softmax(training.padded_logits(run.model.eval(), train.rows), dim=1).double().numpy()
    run.run()
    target = np.eye(4)[train.labels] * (1 - smoothing) + smoothing / 4
    weight = compute_class_weight("balanced", classes=np.arange(4), y=train.labels) if weights == "balanced" else np.ones(4)
    expected = -(target * weight * logs).sum() / weight[train.labels].sum()
    assert seen[0][3] == pytest.approx(expected, rel=1e-4)


def test_frozen_training_changes_the_head_and_nothing_else(tiny):
    fresh, run = classifier(tiny()).state_dict(), trained(tiny(), mode="frozen", weight_decay=0.5)
    changed = {name.partition(".")[0] for name, tensor in run.model.state_dict().items() if not torch.equal(tensor, fresh[name])}
    assert changed == {"classifier"}


def test_full_training_changes_every_layer(tiny, undisturbed):
    fresh = classifier(tiny()).state_dict()
    # The bias of a key moves all scores of a token alike: softmax takes no notice, and its gradient is rounding.
    still = {name for name, tensor in undisturbed.model.state_dict().items() if torch.equal(tensor, fresh[name])}
    assert {name for name in still if "key.bias" not in name} == set()


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_the_learning_rate_warms_up_to_its_peak_and_follows_the_schedule(schedule):
    knobs = settings(schedule=schedule, learning_rate=2.0, warmup_share=0.1)
    rates = np.array([learning_rate(step, 100, knobs) for step in range(100)])
    np.testing.assert_allclose(rates[:10], 2 * np.arange(1, 11) / 10)
    left = 1 - np.arange(90) / 90
    shape = {"linear": left, "cosine": (1 + np.cos(np.pi * (1 - left))) / 2, "constant": np.ones(90)}[schedule]
    np.testing.assert_allclose(rates[10:], 2 * shape, atol=1e-12)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("total", [1, 2, 7])
def test_the_learning_rate_of_short_trainings_is_above_zero_and_at_most_the_peak(share, total):
    knobs = settings(learning_rate=1.0, warmup_share=share)
    assert all(0 < learning_rate(step, total, knobs) <= 1 for step in range(total))


def test_each_step_uses_its_learning_rate(tiny):
    logged = []
    run = started(tiny(), log=lambda *call: logged.append(call))
    run.run()
    rates = [value for name, value, _ in logged if name == "train/learning_rate"]
    assert rates == [learning_rate(step, STEPS, run.settings) for step in range(STEPS)]
    assert run.optimizer.param_groups[0]["lr"] == run.optimizer.param_groups[1]["lr"] == rates[-1]


def test_gradients_are_clipped_to_the_largest_norm_before_the_step(tiny, monkeypatch):
    norms = []
    step = torch.optim.AdamW.step

    def measured(optimizer, *arguments):
        gradients = [parameter.grad for group in optimizer.param_groups for parameter in group["params"] if parameter.grad is not None]
        norms.append(float(torch.linalg.vector_norm(torch.stack([gradient.norm() for gradient in gradients]))))
        return step(optimizer, *arguments)

    monkeypatch.setattr(torch.optim.AdamW, "step", measured)
    trained(tiny(), epochs=1, gradient_clip=1e9)
    assert min(norms) > 0.05, "the bound below must bite"
    norms.clear()
    trained(tiny(), epochs=1, gradient_clip=0.05)
    assert norms == pytest.approx([0.05] * EPOCH, rel=1e-3)


def test_weight_decay_spares_biases_and_layer_norms(tiny):
    run = started(tiny(), weight_decay=0.3)
    decayed, spared = run.optimizer.param_groups
    names = {parameter: name for name, parameter in run.model.named_parameters()}
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.3, 0.0)
    assert {names[parameter] for parameter in spared["params"]} == {
        name for name in names.values() if "LayerNorm" in name or "bias" in name
    }
    assert len(decayed["params"]) + len(spared["params"]) == len(names)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_diverged_training_stops_and_names_the_learning_rate(tiny, monkeypatch, value):
    monkeypatch.setattr(torch.nn.functional, "cross_entropy", lambda *_, **__: torch.tensor(value))
    with pytest.raises(TrainingError, match=rf"the loss became {value} after 0 of 15 steps; lower finetune\.learning_rate \(now 0\.003\)$"):
        trained(tiny())


def test_a_training_that_really_diverges_is_stopped(tiny):
    with pytest.raises(TrainingError, match=r"lower finetune\.learning_rate \(now 1e\+30\)"):
        trained(tiny(), learning_rate=1e30, warmup_share=0.0)


def test_a_divergence_in_the_very_last_step_is_seen_by_the_validation(tiny):
    with pytest.raises(TrainingError, match=r"the validation loss became nan after 1 of 1 steps; lower finetune\.learning_rate"):
        trained(tiny(), epochs=1, batch_size=64, learning_rate=1e38, warmup_share=0.0)


def test_the_history_tells_each_epoch_and_the_tokens_seen(tiny, undisturbed):
    assert [epoch["epoch"] for epoch in undisturbed.did.history] == [1, 2, 3]
    assert undisturbed.did.tokens == 3 * sum(map(len, encoded(40).rows))
    assert undisturbed.did.steps == STEPS


def test_every_row_is_seen_once_an_epoch_in_an_order_of_its_own(tiny):
    run = started(tiny())
    orders = [run._order(epoch) for epoch in range(3)]
    assert all(sorted(order) == list(range(40)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3


def test_validation_figures_do_not_depend_on_batches(tiny, monkeypatch):
    run = started(tiny())
    whole = run.validate()
    monkeypatch.setattr(training, "EVALUATION_ROWS", 3)
    assert run.validate() == pytest.approx(whole, rel=1e-5)


def test_packed_and_padded_trainings_agree_without_dropout(tiny, monkeypatch):
    packed = trained(tiny(dropout=0.0)).did
    monkeypatch.setattr(training, "packs", lambda *_: False)
    padded = trained(tiny(dropout=0.0)).did
    assert (packed.packed, padded.packed) == (True, False)
    for one, other in zip(packed.history, padded.history, strict=True):
        assert one == pytest.approx(other, rel=1e-3)
