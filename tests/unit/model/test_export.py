"""The artifact that ships: it answers as the classifier does, whatever the batch, and its bytes name no machine."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from evergreen.errors import ParityError
from evergreen.model import backbone, export
from evergreen.model.packing import padded_logits
from tests.factories import LABELS, examples
from tests.model_factories import PAD, classifier, tokenizer

OTHERS = ["distilbert", "electra", "deberta-v2", "modernbert-mean"]
ROOT = Path(__file__).parents[3]
TEXTS = [*examples(60)["text"], "zebra " * 60, "card", "xq", ""]


def write(model, folder, *, precision="fp32", max_tokens=24, **settings):
    return export.write_artifact(model, tokenizer(**settings), folder, precision=precision, max_tokens=max_tokens, threads=1)


@pytest.fixture(scope="module")
def model(tiny):
    return classifier(tiny()).eval()


@pytest.fixture(scope="module")
def graph(model):
    return export._graph(model)


@pytest.fixture
def exported_once(graph, monkeypatch):
    """Spare a test the seconds of an export: the model's graph is the one made before."""

    def copy(_):
        own = onnx.ModelProto()
        own.CopyFrom(graph)
        return own

    monkeypatch.setattr(export, "_graph", copy)


@pytest.fixture(scope="module")
def artifact(model, graph, tmp_path_factory):
    folder = tmp_path_factory.mktemp("artifact")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "_graph", lambda _: graph)
        write(model, folder)
    return folder


@pytest.fixture(scope="module")
def shipped(artifact):
    return export.uncalibrated(artifact)


@pytest.mark.parametrize("family", ["roberta", *(pytest.param(family, marks=pytest.mark.long) for family in OTHERS)])
def test_the_artifact_answers_as_the_classifier_does(tiny, tmp_path, family):
    model = classifier(tiny(family))
    write(model, tmp_path)
    found = export.parity(model, export.uncalibrated(tmp_path), TEXTS)
    assert found == {"rows": len(TEXTS), "max_logit_difference": found["max_logit_difference"], "label_agreement": 1.0}
    assert found["max_logit_difference"] < 1e-5


def test_batch_and_length_are_free(artifact, model):
    session = onnxruntime.InferenceSession(str(artifact / "model.onnx"))
    assert [(item.name, item.type, item.shape) for item in session.get_inputs()] == [
        ("input_ids", "tensor(int64)", ["batch", "length"]),
        ("attention_mask", "tensor(int64)", ["batch", "length"]),
    ]
    assert [item.name for item in session.get_outputs()] == ["logits", "sentence_embedding"]
    for batch, length in [(1, 1), (1, 40), (3, 7), (65, 2), (2, 8)]:
        ids = np.random.default_rng(0).integers(PAD + 1, 20, size=(batch, length))
        logits, embeddings = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        assert embeddings.shape == (batch, 32)
        with torch.no_grad():
            np.testing.assert_allclose(logits, padded_logits(model, ids.tolist()).numpy(), atol=1e-5)


def test_the_embedding_is_the_mean_of_the_real_tokens_last_states_with_length_one(model, shipped):
    texts = TEXTS[:5]
    embeddings = shipped.scores(texts).embeddings
    for text, embedding in zip(texts, embeddings, strict=True):
        with torch.no_grad():
            states_LD = model(torch.tensor(shipped.tokens([text])), output_hidden_states=True).hidden_states[-1][0]
        mean = states_LD.mean(dim=0)
        np.testing.assert_allclose(embedding, (mean / mean.norm()).numpy(), atol=1e-5)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.usefixtures("exported_once")
def test_long_texts_are_cut_alike_in_training_and_in_serving(model, tmp_path, side):
    trained_with = tokenizer(truncation_side=side)
    trained_with.save_pretrained(tmp_path / "classifier")
    loaded = backbone.load_tokenizer(tmp_path / "classifier")
    rows = loaded(TEXTS, truncation=True, max_length=10)["input_ids"]
    loaded.save_pretrained(tmp_path / "classifier")
    again = backbone.load_tokenizer(tmp_path / "classifier")
    export.write_artifact(model, again, tmp_path, precision="fp32", max_tokens=10, threads=1)
    assert export.uncalibrated(tmp_path).tokens(TEXTS) == rows
    assert max(map(len, rows)) == 10


@pytest.mark.usefixtures("exported_once")
def test_an_int8_artifact_is_smaller_and_close(model, artifact, tmp_path):
    described = write(model, tmp_path, precision="int8")
    found = export.parity(model, export.uncalibrated(tmp_path), TEXTS)
    assert described["precision"] == "int8"
    assert 1e-4 < found["max_logit_difference"] < 0.5
    assert found["label_agreement"] > 0.9
    types = {tensor.data_type for tensor in onnx.load(tmp_path / "model.onnx").graph.initializer}
    assert onnx.TensorProto.INT8 in types
    assert weights_size(tmp_path) < 0.5 * weights_size(artifact)


@pytest.mark.usefixtures("exported_once")
def test_in_int8_a_texts_answer_does_not_depend_on_its_neighbours(model, tmp_path):
    write(model, tmp_path, precision="int8")
    shipped = export.uncalibrated(tmp_path)
    together = shipped.scores(TEXTS).logits
    np.testing.assert_array_equal(together, np.vstack([shipped.scores([text]).logits for text in TEXTS]))
    beside_others, _ = shipped.run(shipped.tokens(TEXTS))
    assert np.abs(beside_others - together).max() > 1e-4  # what a shared run would do


def weights_size(folder):
    return sum(len(tensor.raw_data) for tensor in onnx.load(folder / "model.onnx").graph.initializer)


def test_artifact_json_says_what_a_service_needs(artifact, model):
    described = json.loads((artifact / "artifact.json").read_text())
    hashes = {name: backbone.file_sha256(artifact / name) for name in ("model.onnx", "tokenizer.json")}
    version = described.pop("version")
    assert len(version) == 12
    assert described == {
        "format": 1,
        "labels": list(LABELS),
        "max_tokens": 24,
        "pad_id": PAD,
        "precision": "fp32",
        "threads": 1,
        "embedding_size": 32,
        "opset": 20,
        "sha256": hashes,
    }


@pytest.mark.usefixtures("exported_once")
def test_labels_stand_in_the_order_of_the_logits_also_beyond_ten(tiny, tmp_path):
    labels = [f"label {number}" for number in range(12)]
    model = classifier(tiny(), labels)
    model.save_pretrained(tmp_path / "saved")
    described = write(backbone.load_trained(tmp_path / "saved"), tmp_path)
    assert described["labels"] == labels


def test_the_same_model_gives_the_same_bytes_and_stays_as_it_was(model, artifact, tmp_path):
    state = (model.config._attn_implementation, logging.getLogger().level, logging.getLogger("torch.onnx").level)
    write(model, tmp_path)
    assert (model.config._attn_implementation, logging.getLogger().level, logging.getLogger("torch.onnx").level) == state
    for name in ("model.onnx", "tokenizer.json", "artifact.json"):
        assert (tmp_path / name).read_bytes() == (artifact / name).read_bytes(), name


@pytest.mark.usefixtures("exported_once")
def test_each_setting_and_the_weights_enter_the_version(model, graph, tmp_path, monkeypatch):
    versions = [write(model, tmp_path / "one", **fields)["version"] for fields in ({}, {"max_tokens": 25}, {"precision": "int8"})]
    other = onnx.ModelProto()
    other.CopyFrom(graph)
    weights = next(tensor for tensor in other.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT)
    weights.raw_data = bytes(len(weights.raw_data))
    monkeypatch.setattr(export, "_graph", lambda _: other)
    versions.append(write(model, tmp_path / "other")["version"])
    assert len(set(versions)) == 4


@pytest.mark.usefixtures("exported_once")
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_bytes_name_no_place_of_this_machine(model, tmp_path, precision):
    write(model, tmp_path, precision=precision)
    for path in tmp_path.iterdir():
        content = path.read_bytes()
        for place in (ROOT, tmp_path, Path.home(), Path(sys.prefix), Path(torch.__file__).parent, Path(os.__file__).parent):
            assert str(place).encode() not in content, f"{path.name} names {place}"
        assert b".py" not in content, path.name


def test_parity_sees_a_classifier_that_is_not_the_artifacts(tiny, shipped):
    other = classifier(tiny())
    with torch.no_grad():
        other.classifier.bias[0] += 0.25
    assert export.parity(other, shipped, TEXTS)["max_logit_difference"] == pytest.approx(0.25, abs=1e-4)


def found(difference, agreement):
    return {"rows": 50, "max_logit_difference": difference, "label_agreement": agreement}


def test_parity_within_the_bounds_passes():
    export.check_parity(found(0.001, 0.98), max_logit_difference=0.001, min_label_agreement=0.98)


@pytest.mark.parametrize(
    ("difference", "agreement", "message"),
    [
        (0.0123456, 1.0, r"on 50 rows: a logit differs by 0\.01235; at most 0\.001 is allowed \(compress\.max_logit_difference\)\. Set"),
        (0.0, 0.96, r"on 50 rows: labels agree on 96\.0%; at least 98\.0% is asked for \(compress\.min_label_agreement\)\. Set"),
        (1.0, 0.5, r"a logit differs by 1; .*; labels agree on 50\.0%; .*Set compress\.precision to fp32, or widen the bound"),
        (float("nan"), 1.0, r"a logit differs by nan"),
        (0.0, float("nan"), r"labels agree on nan%"),
    ],
)
def test_parity_beyond_a_bound_is_refused_with_the_figure_the_bound_and_the_knob(difference, agreement, message):
    with pytest.raises(ParityError, match=message):
        export.check_parity(found(difference, agreement), max_logit_difference=0.001, min_label_agreement=0.98)


def test_latency_counts_the_requests_and_orders_its_percentiles(shipped):
    timed = export.latency(shipped, ["card please", "card " * 10, "savings"])
    assert timed["requests"] == 3
    assert 0 < timed["p50_milliseconds"] <= timed["p95_milliseconds"]
    assert timed["median_tokens"] == 4


@pytest.mark.long
def test_two_fresh_processes_give_the_same_bytes(model, tmp_path):
    model.save_pretrained(tmp_path / "saved")
    tokenizer().save_pretrained(tmp_path / "saved")
    script = (
        "import sys, pathlib; from evergreen.model import backbone, export; folder = pathlib.Path(sys.argv[1]);"
        "export.write_artifact(backbone.load_trained(folder), backbone.load_tokenizer(folder), pathlib.Path(sys.argv[2]),"
        " precision='fp32', max_tokens=24, threads=1)"
    )
    for name, seed in (("one", "1"), ("two", "2")):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", script, str(tmp_path / "saved"), str(tmp_path / name)]
        subprocess.run(command, env=environment, check=True, capture_output=True, cwd=tmp_path)
    one, two = ([(tmp_path / name / file).read_bytes() for file in ("model.onnx", "tokenizer.json")] for name in ("one", "two"))
    assert one == two
