"""Checkpoints: what is read back is what was written, and a damaged one is passed over for the one before."""

import pytest
import torch

from evergreen.model import checkpoint


def write(folder, *steps):
    for step in steps:
        tensors = {"weight": torch.full((2, 3), float(step)), "turned": torch.arange(6).reshape(2, 3).T}
        checkpoint.save(folder, step=step, tensors=tensors, values={"step": step, "loss": float("inf")})


def step_of(folder):
    found = checkpoint.newest(folder)
    return None if found is None else found[1]["step"]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_tensors_and_values_come_back_as_they_were(tmp_path):
    write(tmp_path, 7)
    tensors, values = checkpoint.newest(tmp_path)
    assert values == {"step": 7, "loss": float("inf")}
    assert torch.equal(tensors["weight"], torch.full((2, 3), 7.0))
    assert torch.equal(tensors["turned"], torch.arange(6).reshape(2, 3).T)


def test_no_folder_and_an_empty_one_hold_no_checkpoint(tmp_path):
    assert checkpoint.newest(tmp_path / "none") is None
    assert checkpoint.newest(tmp_path) is None


def test_the_newest_two_are_kept_in_the_order_of_numbers(tmp_path):
    write(tmp_path, 9, 10, 100)
    assert names(tmp_path) == ["step-00000010", "step-00000100"]
    assert step_of(tmp_path) == 100


def test_the_same_step_can_be_written_again(tmp_path):
    write(tmp_path, 3, 3)
    assert names(tmp_path) == ["step-00000003"]
    assert step_of(tmp_path) == 3


@pytest.mark.parametrize("name", ["state.safetensors", "state.sha256"])
@pytest.mark.parametrize("damage", ["truncated", "emptied", "altered", "missing"])
def test_a_damaged_newest_checkpoint_is_passed_over_for_the_one_before(tmp_path, name, damage):
    write(tmp_path, 1, 2)
    path = tmp_path / "step-00000002" / name
    content = path.read_bytes()
    middle = len(content) // 2
    changed = {
        "truncated": content[:-1],
        "emptied": b"",
        "altered": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
    }
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(changed[damage])
    assert step_of(tmp_path) == 1


def test_altered_values_are_found_out_too(tmp_path):
    write(tmp_path, 1, 2)
    path = tmp_path / "step-00000002" / "state.safetensors"
    path.write_bytes(path.read_bytes().replace(rb"\"step\": 2", rb"\"step\": 9"))
    assert rb"\"step\": 9" in path.read_bytes()
    assert step_of(tmp_path) == 1


def test_with_every_checkpoint_damaged_there_is_none(tmp_path):
    write(tmp_path, 1, 2)
    for path in tmp_path.glob("*/state.safetensors"):
        path.write_bytes(b"")
    assert step_of(tmp_path) is None


def test_what_a_kill_left_half_written_is_neither_read_nor_in_the_way(tmp_path):
    write(tmp_path, 1)
    (tmp_path / ".partial").mkdir()
    (tmp_path / ".partial" / "state.safetensors").write_bytes(b"half")
    assert step_of(tmp_path) == 1
    write(tmp_path, 2)
    assert names(tmp_path) == ["step-00000001", "step-00000002"]


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    write(tmp_path, 1)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path, 2)
    assert step_of(tmp_path) == 1
