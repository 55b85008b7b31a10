"""The shipping artifact at work, on a real ONNX file of a few kilobytes."""

import json
import shutil

import numpy as np
import pytest

from evergreen.errors import EvidenceError
from evergreen.model import inference
from evergreen.model.inference import Calibration, Classifier, softmax
from tests.factories import LABELS, examples, tiny_artifact, tiny_calibration


@pytest.fixture
def artifact(tmp_path):
    return tiny_artifact(tmp_path / "artifact")


@pytest.fixture
def classifier(artifact, tmp_path):
    return Classifier.load(artifact, tiny_calibration(tmp_path / "calibration.json"))


def test_a_texts_answer_is_the_label_that_its_words_speak_for(classifier):
    probabilities = classifier.probabilities(["savings please", "my CARD", "access access thanks", "is this fraud?"])
    assert [classifier.labels[row] for row in probabilities.argmax(axis=1)] == ["savings", "card", "access", "fraud"]


def test_answers_come_in_the_order_of_the_texts_whatever_their_lengths(classifier):
    texts = examples(200)["text"].tolist()
    together = classifier.scores(texts)
    for row in range(0, 200, 17):
        alone = classifier.scores([texts[row]])
        np.testing.assert_allclose(together.logits[row], alone.logits[0], rtol=1e-6)
        np.testing.assert_allclose(together.embeddings[row], alone.embeddings[0], rtol=1e-6)


def test_batches_stay_under_the_token_limit_and_hold_every_row_once(classifier, monkeypatch):
    monkeypatch.setattr(inference, "BATCH_TOKENS", 40)
    widths = []
    run = classifier.run
    monkeypatch.setattr(classifier, "run", lambda tokens: widths.append([len(ids) for ids in tokens]) or run(tokens))
    classifier.scores(examples(60)["text"].tolist())
    assert sum(len(batch) for batch in widths) == 60
    assert len(widths) > 10
    assert all(len(batch) * max(batch) <= 40 for batch in widths)


def test_padding_beside_a_longer_text_changes_nothing(classifier):
    short, long = "card", "savings " * 12
    np.testing.assert_allclose(classifier.scores([short, long]).logits[0], classifier.scores([short]).logits[0], rtol=1e-6)


def test_an_empty_text_has_an_answer_and_prefers_no_label(classifier):
    np.testing.assert_allclose(classifier.probabilities([""]), np.full((1, 4), 0.25))


def test_no_texts_give_no_rows(classifier):
    assert classifier.probabilities([]).shape == (0, 4)
    assert len(classifier.scores([]).embeddings) == 0


def test_a_text_beyond_the_token_limit_is_cut(classifier):
    assert len(classifier.tokens(["card " * 100])[0]) == 16
    cut = classifier.scores(["card " * 15 + "savings " * 50]).logits
    np.testing.assert_allclose(cut, classifier.scores(["card " * 15]).logits)


def test_embeddings_have_length_one(classifier):
    lengths = np.linalg.norm(classifier.scores(examples(20)["text"].tolist()).embeddings, axis=1)
    np.testing.assert_allclose(lengths, 1, rtol=1e-6)


def test_probabilities_use_the_temperature(artifact):
    cold, warm = (Classifier(artifact, Calibration(temperature=t, threshold=0.5)).probabilities(["card help"]) for t in (1.0, 4.0))
    assert cold.max() > warm.max() > 0.25
    assert cold.argmax() == warm.argmax()


def test_softmax_of_huge_logits_is_finite_and_sums_to_one():
    probabilities = softmax(np.array([[1e4, -1e4, 0], [3, 3, 3]], np.float32), temperature=0.1)
    np.testing.assert_allclose(probabilities, [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3]])


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_a_changed_file_is_refused_by_name(artifact, tmp_path, name):
    with (artifact / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(EvidenceError, match=rf"{name} is not the file that artifact\.json was written for; run `dvc repro compress`"):
        Classifier.load(artifact, tiny_calibration(tmp_path / "calibration.json"))


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "artifact.json"])
def test_a_missing_file_is_named(artifact, tmp_path, name):
    (artifact / name).unlink()
    with pytest.raises(EvidenceError, match=rf"{name} is missing from the artifact; run `dvc repro compress`"):
        Classifier.load(artifact, tiny_calibration(tmp_path / "calibration.json"))


def test_the_version_follows_the_content_of_artifact_and_calibration(artifact, tmp_path):
    copy = shutil.copytree(artifact, tmp_path / "copy")
    other = tiny_artifact(tmp_path / "other", labels=[*LABELS, "travel"])
    calibration = Calibration(temperature=1.0, threshold=0.5)
    version = Classifier(artifact, calibration).version
    assert Classifier(copy, calibration).version == version
    changed = [
        Classifier(other, calibration).version,
        Classifier(artifact, Calibration(temperature=1.1, threshold=0.5)).version,
        Classifier(artifact, Calibration(temperature=1.0, threshold=0.6)).version,
    ]
    assert len({version, *changed}) == 4


def test_the_factory_gives_the_same_bytes_twice(artifact, tmp_path):
    again = tiny_artifact(tmp_path / "again")
    assert json.loads((again / "artifact.json").read_text()) == json.loads((artifact / "artifact.json").read_text())
