"""The compress stage on a tiny classifier: an artifact and two reports that agree, and a refusal that leaves no report."""

from types import SimpleNamespace

import onnx
import pytest
import torch

from evergreen.errors import ParityError
from evergreen.model import backbone, export
from evergreen.model.inference import Calibration, Classifier
from evergreen.reports import read_report
from stages.compress import compress
from tests.evaluation_factories import ROWS, knobs, splits
from tests.factories import LABELS
from tests.model_factories import backbone_folder, classifier, tokenizer

COMPRESS = {"threads": 1, "latency_requests": 10, "parity_rows": 20, "precision": "fp32"}
FINETUNE = {"max_tokens": 24}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compress")
    classifier(backbone_folder(folder / "backbone")).save_pretrained(folder / "classifier")
    tokenizer().save_pretrained(folder / "classifier")
    return SimpleNamespace(model=folder / "classifier", splits=splits(folder / "splits"))


@pytest.fixture(scope="module")
def graph(inputs):
    return export._graph(backbone.load_trained(inputs.model))


@pytest.fixture(autouse=True)
def exported_once_and_torch_as_it_was(graph, monkeypatch):
    def copy(_):
        own = onnx.ModelProto()
        own.CopyFrom(graph)
        return own

    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.setattr(export, "_graph", copy)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


def run(inputs, folder, **fields):
    outputs = SimpleNamespace(artifact=folder / "artifact", report=folder / "compression.json", latency=folder / "latency.json")
    compress(knobs(compress={**COMPRESS, **fields}, finetune=FINETUNE), inputs, outputs)
    return outputs


def test_artifact_and_reports_agree(inputs, tmp_path):
    outputs = run(inputs, tmp_path)
    report, latency = read_report(outputs.report), read_report(outputs.latency)
    described = read_report(outputs.artifact / "artifact.json")
    assert report["bytes"] == (outputs.artifact / "model.onnx").stat().st_size
    assert (report["sha256"], report["version"]) == (described["sha256"]["model.onnx"], described["version"])
    assert (report["rows"], report["label_agreement"], report["precision"]) == (20, 1.0, "fp32")
    assert report["max_logit_difference"] < 1e-5
    assert report["bounds"] == {"max_logit_difference": 0.001, "min_label_agreement": 1.0}
    assert (latency["requests"], latency["threads"]) == (10, 1)
    assert (described["max_tokens"], described["labels"]) == (24, list(LABELS))
    answers = Classifier(outputs.artifact, Calibration(temperature=1.0, threshold=0.0)).probabilities(["card please"])
    assert answers.shape == (1, 4)


def test_requests_and_rows_beyond_the_split_use_what_there_is(inputs, tmp_path):
    outputs = run(inputs, tmp_path, parity_rows=10_000, latency_requests=35)
    assert read_report(outputs.report)["rows"] == ROWS["validation"]
    assert read_report(outputs.latency)["requests"] == 35


def test_int8_within_its_bounds_ships(inputs, tmp_path):
    outputs = run(inputs, tmp_path, precision="int8", max_logit_difference=1.0, min_label_agreement=0.5)
    assert read_report(outputs.report)["precision"] == read_report(outputs.artifact / "artifact.json")["precision"] == "int8"


def test_an_artifact_that_strays_is_refused_before_any_report(inputs, tmp_path):
    with pytest.raises(ParityError, match=r"a logit differs by .*; at most 1e-06 is allowed \(compress\.max_logit_difference\)"):
        run(inputs, tmp_path, precision="int8", max_logit_difference=1e-6)
    assert not (tmp_path / "compression.json").exists()
