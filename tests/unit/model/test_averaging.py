"""Averaged trainings: the mean of what each gives alone, the same bits after any kill, and one training as if nothing was averaged."""

import shutil

import pytest
import torch

from evergreen.model.averaging import Averaging
from tests.model_factories import averaging, classifier, settings, trained

STEPS = 15  # of each training: 40 rows in batches of 8, three epochs


class Killed(Exception):
    """Stands for a SIGKILL: nothing in the training catches it."""


def kill_at(step):
    def on_step(done, *_):
        if done == step:
            raise Killed

    return on_step


def weights(folder, **fields):
    run = averaging(folder, **fields)
    return run.run(), {name: tensor.clone() for name, tensor in run.model.state_dict().items()}


def assert_same(one, other):
    assert one[0] == other[0]
    for name, tensor in one[1].items():
        assert torch.equal(tensor, other[1][name]), name


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def undisturbed(tiny, one_thread):
    return weights(tiny(), members=3)


def test_a_mean_of_one_is_the_training_itself(tiny):
    did, mean = weights(tiny(), members=1)
    alone = trained(tiny())
    assert did.members == [alone.did]
    assert_same((did, mean), (did, alone.model.state_dict()))


def test_the_mean_is_that_of_trainings_with_the_next_seeds(tiny, undisturbed):
    alone = [trained(tiny(), seed=settings().seed + number) for number in range(3)]
    did, mean = undisturbed
    assert did.members == [one.did for one in alone]
    for name, tensor in mean.items():
        values = torch.stack([one.model.state_dict()[name].double() for one in alone])
        torch.testing.assert_close(tensor.double(), values.mean(dim=0), rtol=1e-6, atol=1e-7)
    assert not any(torch.equal(mean["classifier.weight"], one.model.classifier.weight) for one in alone)


def test_the_figures_are_those_of_the_mean(tiny, undisturbed):
    run = averaging(tiny(), members=3)
    did = run.run()
    assert (did.validation_loss, did.validation_accuracy) == run.training.validate()
    assert did.validation_loss not in [epoch["validation_loss"] for one in did.members for epoch in one.history]


@pytest.mark.parametrize("step", [1, 6, 14, 15, 16, 22, 30, 31, 44, 45])
def test_killed_anywhere_it_ends_with_the_same_weights(tiny, tmp_path, undisturbed, step):
    with pytest.raises(Killed):
        weights(tiny(), members=3, checkpoints=tmp_path, on_step=kill_at(step))
    assert_same(weights(tiny(), members=3, checkpoints=tmp_path), undisturbed)


def test_killed_again_and_again_it_ends_with_the_same_weights(tiny, tmp_path, undisturbed):
    for step in (5, 15, 17, 29, 33, 45):
        with pytest.raises(Killed):
            weights(tiny(), members=3, checkpoints=tmp_path, on_step=kill_at(step))
    assert_same(weights(tiny(), members=3, checkpoints=tmp_path), undisturbed)


def test_after_its_end_nothing_is_trained_again(tiny, tmp_path, undisturbed):
    weights(tiny(), members=3, checkpoints=tmp_path)
    again = averaging(tiny(), members=3, checkpoints=tmp_path, on_step=kill_at(3 * STEPS))
    assert again.resumed_from == 3 * STEPS
    assert again.run() == undisturbed[0]
    assert torch.equal(again.model.classifier.weight, undisturbed[1]["classifier.weight"])


def test_a_lost_sum_costs_trainings_but_changes_nothing(tiny, tmp_path, undisturbed):
    with pytest.raises(Killed):
        weights(tiny(), members=3, checkpoints=tmp_path, on_step=kill_at(40))
    (tmp_path / "step-00000002" / "state.safetensors").write_bytes(b"")
    assert averaging(tiny(), members=3, checkpoints=tmp_path).resumed_from == STEPS
    shutil.rmtree(tmp_path / "step-00000001")
    assert_same(weights(tiny(), members=3, checkpoints=tmp_path), undisturbed)


def test_checkpoints_of_a_finished_training_make_room(tiny, tmp_path):
    weights(tiny(), members=3, checkpoints=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]


@pytest.mark.parametrize("fields", [{"mode": "frozen"}, {"keep": "last"}, {"patience": 1, "learning_rate": 0.1, "epochs": 8}])
def test_every_way_of_training_can_be_averaged_and_resumed(tiny, tmp_path, fields):
    with pytest.raises(Killed):
        weights(tiny(), members=2, checkpoints=tmp_path, on_step=kill_at(7), **fields)
    assert_same(weights(tiny(), members=2, checkpoints=tmp_path, **fields), weights(tiny(), members=2, **fields))


def test_a_frozen_backbone_stays_as_it_was(tiny):
    _, mean = weights(tiny(), members=3, mode="frozen")
    for name, tensor in classifier(tiny()).base_model.state_dict().items():
        assert torch.equal(mean[f"bert.{name}"], tensor), name


def test_steps_and_scalars_are_counted_over_all_trainings(tiny):
    steps, logged = [], []
    run: Averaging = averaging(
        tiny(), members=2, on_step=lambda *told: steps.append(told[:4]), log=lambda name, _, step: logged.append((name, step))
    )
    run.run()
    assert [told[0] for told in steps] == [*range(1, 2 * STEPS + 1)]
    assert {told[1] for told in steps} == {2 * STEPS}
    assert [told[2:] for told in (steps[0], steps[14], steps[15], steps[29])] == [(1, 1), (1, 3), (2, 1), (2, 3)]
    assert [step for name, step in logged if name == "validation/loss"] == [5, 10, 15, 20, 25, 30]
