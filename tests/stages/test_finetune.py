"""The finetune stage on a tiny backbone: what it writes, resumes from, records and refuses."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
import yaml

from evergreen.errors import BackboneError, TrainingError
from evergreen.model import backbone, training
from evergreen.reports import read_report
from stages.finetune import finetune
from tests.evaluation_factories import ROOT, knobs, splits
from tests.factories import LABELS, examples
from tests.model_factories import backbone_folder, settings

SHORT = {"epochs": 2, "max_tokens": 24, "checkpoint_steps": 4}


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A backbone and the splits."""
    folder = tmp_path_factory.mktemp("finetune")
    backbone_folder(folder / "backbone")
    splits(folder / "splits", train=examples(60, seed=1))
    return folder


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.chdir(ROOT)
    yield tmp_path / "state"
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


def params(place, **fields):
    source = {"source": str(place / "backbone"), "revision": None, "sha256": None, "allow_download": False}
    section = settings(**SHORT).model_dump() | {"backbone": source} | fields
    return knobs(finetune=dict(type(settings()).model_validate(section)) | {"backbone": settings().backbone.model_copy(update=source)})


def train(place, folder, **fields):
    """Run the stage up to the moment in which its outputs would take their names; return them, and what clears the checkpoints."""
    folder.mkdir()
    outputs = SimpleNamespace(model=folder / "classifier", report=folder / "training.json", curve=folder / "training.csv")
    return outputs, finetune(params(place, **fields), SimpleNamespace(splits=place / "splits"), outputs)


def run(place, folder, **fields):
    outputs, clear = train(place, folder, **fields)
    clear()
    return outputs


def die_in_step(monkeypatch, step, seed=None):
    """Make the next trainings (or that of this seed) die in this step, after the checkpoints before it."""
    original = training.Training._step

    def dying(one, *arguments):
        if one.progress.step == step and seed in (None, one.settings.seed):
            raise Killed
        return original(one, *arguments)

    monkeypatch.setattr(training.Training, "_step", dying)


@pytest.fixture(scope="module")
def undisturbed(place, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVERGREEN_HOME", str(tmp_path_factory.mktemp("home")))
        patch.chdir(ROOT)
        return run(place, tmp_path_factory.mktemp("undisturbed") / "run")


def test_the_classifier_loads_and_knows_its_labels(undisturbed):
    model = backbone.load_trained(undisturbed.model)
    assert model.config.id2label == dict(enumerate(LABELS))
    assert backbone.load_tokenizer(undisturbed.model)("card please")["input_ids"]


def test_the_report_tells_what_was_trained_and_by_what(undisturbed, place):
    report = read_report(undisturbed.report)
    assert report["backbone"]["sha256"] == backbone.file_sha256(place / "backbone" / "model.safetensors")
    assert report["weights_sha256"] == backbone.file_sha256(undisturbed.model / "model.safetensors")
    assert (report["rows"], report["validation_rows"], report["steps"], report["epochs_run"]) == (60, 30, 16, 2)
    assert (report["labels"], report["threads"], report["packed"], report["device"]) == (list(LABELS), 1, True, "cpu")
    assert report["tuple"]["params"]["threads"] == 1
    hashes = {name for name in report["tuple"] if name.endswith("_sha256")}
    assert hashes == {f"{of}_sha256" for of in ("data", "backbone", "backbone_config", "tokenizer", "dependencies", "code")}


def test_the_curve_is_the_history(undisturbed):
    history = pd.DataFrame(read_report(undisturbed.report)["history"])
    curve = pd.read_csv(undisturbed.curve)
    pd.testing.assert_frame_equal(curve.drop(columns="pass"), history, check_dtype=False)
    assert [*curve["pass"]] == [1, 2]


def test_averaged_trainings_are_told_one_by_one_and_as_a_whole(place, undisturbed, tmp_path, capsys):
    outputs = run(place, tmp_path / "run", members=3)
    alone, report = read_report(undisturbed.report), read_report(outputs.report)
    assert (report["members"], report["epochs_run"], report["steps"], len(report["kept_epochs"])) == (3, 6, 48, 3)
    assert report["tokens"] == 3 * alone["tokens"]
    assert report["history"][:2] == alone["history"]
    assert [(row["member"], row["epoch"]) for row in report["history"]] == [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2)]
    assert [*pd.read_csv(outputs.curve)["pass"]] == [1, 2, 3, 4, 5, 6]
    assert report["weights_sha256"] != alone["weights_sha256"]
    said = capsys.readouterr().out
    assert "60 rows, 3 trainings of up to 2 epochs of 8 steps" in said
    assert f"averaged the weights of 3 trainings: validation loss {report['validation_loss']:.3f}" in said


def test_a_training_goes_on_from_the_weights_of_a_trained_classifier(place, undisturbed, tmp_path, capsys):
    weights = backbone.file_sha256(undisturbed.model / backbone.WEIGHTS)
    start = {"source": str(undisturbed.model), "sha256": weights}
    report = read_report(run(place, tmp_path / "run", start=start).report)
    assert f"goes on from the weights in {undisturbed.model}, verified ({weights[:12]})" in capsys.readouterr().out
    assert (report["start"], report["backbone"]["source"]) == (start, str(place / "backbone"))
    assert report["tuple"]["backbone_sha256"] == weights
    assert report["history"][0]["train_loss"] < read_report(undisturbed.report)["history"][-1]["train_loss"]
    with pytest.raises(BackboneError, match="sha256"):
        run(place, tmp_path / "altered", start=start | {"sha256": "0" * 64})


def test_a_stage_killed_in_a_later_training_resumes_there(place, tmp_path, monkeypatch, capsys, own_home):
    whole = run(place, tmp_path / "whole", members=3)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        die_in_step(patch, 10, seed=settings().seed + 1)
        run(place, tmp_path / "killed", members=3)
    capsys.readouterr()
    resumed = run(place, tmp_path / "resumed", members=3)
    assert "going on from the checkpoint at step 24" in capsys.readouterr().out
    assert resumed.report.read_bytes() == whole.report.read_bytes()
    assert (resumed.model / "model.safetensors").read_bytes() == (whole.model / "model.safetensors").read_bytes()
    assert not (own_home / "checkpoints").exists()


def test_the_outputs_name_no_place_of_this_machine(undisturbed):
    for path in undisturbed.model.iterdir():
        content = path.read_bytes()
        assert not any(str(item).encode() in content for item in (undisturbed.model.parent, ROOT, Path.home())), path.name


def test_a_killed_stage_resumes_to_the_same_outputs_and_clears_its_checkpoints(place, undisturbed, tmp_path, monkeypatch, capsys, own_home):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        die_in_step(patch, 10)
        run(place, tmp_path / "killed")
    capsys.readouterr()
    resumed = run(place, tmp_path / "resumed")
    assert "going on from the checkpoint at step 8" in capsys.readouterr().out
    assert resumed.report.read_bytes() == undisturbed.report.read_bytes()
    assert resumed.curve.read_bytes() == undisturbed.curve.read_bytes()
    for path in undisturbed.model.iterdir():
        assert (resumed.model / path.name).read_bytes() == path.read_bytes(), path.name
    assert not (own_home / "checkpoints").exists()


def test_a_stage_killed_before_its_outputs_have_their_names_does_not_train_all_again(place, undisturbed, tmp_path, capsys):
    train(place, tmp_path / "killed")
    assert "going on from" not in capsys.readouterr().out
    again = run(place, tmp_path / "again")
    assert re.search(r"going on from the checkpoint at step 1[2-6]", capsys.readouterr().out)  # of 16
    assert again.report.read_bytes() == undisturbed.report.read_bytes()
    assert (again.model / "model.safetensors").read_bytes() == (undisturbed.model / "model.safetensors").read_bytes()


def other_data(place):
    table = examples(60, seed=2)
    table.to_parquet(place / "splits" / "train.parquet", index=False)


def other_tokenizer(place):
    path = place / "backbone" / "tokenizer.json"
    path.write_text(path.read_text().replace('"lowercase": true', '"lowercase": false').replace('"Lowercase"', '"NFC"'))


def other_weights(place):
    shutil.rmtree(place / "backbone")
    backbone_folder(place / "backbone", dropout=0.0)


@pytest.mark.parametrize("change", [{"seed": 18}, {"learning_rate": 1e-3}, {"epochs": 3}, other_data, other_tokenizer, other_weights])
def test_a_checkpoint_of_other_params_or_data_is_never_used(place, tmp_path, monkeypatch, capsys, change):
    own = shutil.copytree(place, tmp_path / "place")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        die_in_step(patch, 5)
        run(own, tmp_path / "killed")
    if callable(change):
        change(own)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        die_in_step(patch, 0)  # a resumed one would begin at step 4
        run(own, tmp_path / "other", **({} if callable(change) else change))
    assert "going on from" not in capsys.readouterr().out


@pytest.mark.parametrize("change", [{"checkpoint_steps": 3}, {"tensorboard": True}])
def test_a_knob_that_changes_no_weight_does_not_lose_the_checkpoint(place, tmp_path, monkeypatch, capsys, change):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        die_in_step(patch, 5)
        run(place, tmp_path / "killed")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        die_in_step(patch, 5)
        run(place, tmp_path / "other", **change)
    assert "going on from the checkpoint at step 4" in capsys.readouterr().out


def test_tensorboard_files_are_written_only_when_asked_for(place, undisturbed, tmp_path, own_home):
    asked = run(place, tmp_path / "asked", tensorboard=True)
    events = list((own_home / "tensorboard").rglob("events.*"))
    assert len(events) == 1
    assert b"validation/accuracy" in events[0].read_bytes()
    assert not (own_home.parent / "home" / "tensorboard").exists()
    assert read_report(asked.report)["weights_sha256"] == read_report(undisturbed.report)["weights_sha256"]
    shutil.rmtree(own_home)
    run(place, tmp_path / "not_asked", epochs=1)
    assert not (own_home / "tensorboard").exists()


def test_tensorboard_that_is_not_installed_is_told_with_its_remedy(place, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(TrainingError, match=r"TensorBoard is not installed; `pip install"):
        run(place, tmp_path / "run", tensorboard=True)


def test_more_tokens_than_the_backbone_takes_are_refused(place, tmp_path):
    with pytest.raises(TrainingError, match=r"finetune\.max_tokens is 41, but the backbone takes at most 40; lower it"):
        run(place, tmp_path / "run", max_tokens=41)


def test_a_label_that_train_lacks_is_refused_by_name(place, tmp_path):
    own = shutil.copytree(place, tmp_path / "place")
    examples(30, labels=[*LABELS, "travel"]).to_parquet(own / "splits" / "validation.parquet", index=False)
    with pytest.raises(TrainingError, match="the validation split has labels that the train split lacks: travel"):
        run(own, tmp_path / "run")


def test_one_label_is_not_a_task(place, tmp_path):
    own = shutil.copytree(place, tmp_path / "place")
    for name in ("train", "validation"):
        examples(30, labels=["card"]).to_parquet(own / "splits" / f"{name}.parquet", index=False)
    with pytest.raises(TrainingError, match="the train split has 1 label; a classifier needs at least two"):
        run(own, tmp_path / "run")


def in_a_process(place, folder, *, kill_after=None):
    """Run the stage as dvc.yaml does in this folder; with `kill_after`, kill it once that checkpoint exists."""
    folder.mkdir(exist_ok=True)
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["finetune"] = params(place, epochs=12, patience=0).finetune.model_dump(mode="json")
    (folder / "params.yaml").write_text(yaml.safe_dump(raw))
    shutil.copy(ROOT / "constraints.txt", folder)
    arguments = ["--in", f"splits={place / 'splits'}", "--out", "model=classifier", "report=training.json", "curve=training.csv"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "EVERGREEN_HOME": str(folder / "state")}
    process = subprocess.Popen(
        [sys.executable, "-m", "stages.finetune", *arguments], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    while kill_after and process.poll() is None and not list(folder.glob(f"state/checkpoints/*/step-{kill_after:08d}")):
        time.sleep(0.02)
    if kill_after:
        process.send_signal(signal.SIGKILL)
    output, _ = process.communicate(timeout=250)
    return process.returncode, output


@pytest.mark.long
def test_a_process_killed_by_sigkill_resumes_to_the_bytes_of_a_fresh_one(place, tmp_path):
    assert in_a_process(place, tmp_path / "fresh")[0] == 0
    assert in_a_process(place, tmp_path / "killed", kill_after=8)[0] == -signal.SIGKILL
    assert not (tmp_path / "killed" / "classifier").exists()
    status, output = in_a_process(place, tmp_path / "killed")
    assert status == 0
    assert "going on from the checkpoint at step" in output
    for name in ("classifier/model.safetensors", "classifier/config.json", "classifier/tokenizer.json", "training.json", "training.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "fresh" / name).read_bytes(), name
