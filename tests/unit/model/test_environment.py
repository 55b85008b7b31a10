"""What a training's bytes depend on beside its data: set as asked, recorded as found."""

import pytest
import torch

from evergreen.errors import TrainingError
from evergreen.model import environment

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_fixing_sets_threads_seed_and_deterministic_algorithms():
    environment.fix(threads=2, seed=5)
    first = torch.rand(3)
    environment.fix(threads=1, seed=5)
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.equal(torch.rand(3), first)


@pytest.mark.parametrize(("wanted", "present", "given"), [("auto", False, "cpu"), ("auto", True, "cuda"), ("cpu", True, "cpu")])
def test_the_device_is_cuda_only_where_there_is_one_and_it_is_not_ruled_out(monkeypatch, wanted, present, given):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: present)
    assert environment.device(wanted).type == given


def test_cuda_that_is_asked_for_and_absent_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainingError, match=r"finetune\.device is cuda, but torch sees no CUDA device; set it to auto or cpu"):
        environment.device("cuda")


@pytest.mark.parametrize("wanted", ["fp32", "bf16"])
def test_a_precision_that_is_asked_for_is_used(wanted):
    assert environment.precision(wanted, CPU) == wanted


@pytest.mark.parametrize(("avx", "amx", "given"), [(False, False, "fp32"), (True, False, "bf16"), (False, True, "bf16")])
def test_auto_precision_on_a_processor_is_what_its_instructions_make_fast(monkeypatch, avx, amx, given):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert environment.precision("auto", CPU) == given


@pytest.mark.parametrize(("supported", "given"), [(False, "fp32"), (True, "bf16")])
def test_auto_precision_on_a_gpu_takes_bf16_in_hardware_alone(monkeypatch, supported, given):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported and not including_emulation)
    assert environment.precision("auto", CUDA) == given


def test_the_record_names_what_decides_the_bytes():
    recorded = environment.describe(CPU)
    assert recorded.keys() == {"python", "torch", "transformers", "isa", "processor", "gpu", "cuda"}
    assert recorded["torch"] == torch.__version__
    assert recorded["gpu"] is recorded["cuda"] is None
    assert all(recorded[name] for name in ("python", "transformers", "isa", "processor"))
