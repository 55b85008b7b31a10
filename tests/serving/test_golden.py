"""A model must give its own recorded answers before anybody may ask it."""

import json
from pathlib import Path

import pytest

from serving.model.backend import About, Judged
from serving.model.golden import GoldenError, check
from tests.worker_factories import bento, start_worker, write_golden

ABOUT = About("v1", ("no", "yes"), 0.7)


def judge(texts: list[str]) -> list[Judged]:
    return [Judged(text, (0.2, 0.8), 1) for text in texts]


def golden(folder: Path, **fields: object) -> Path:
    example = {"text": "a secret", "label": "yes", "probabilities": [0.2001, 0.7999]} | fields
    (folder / "golden.json").write_text(json.dumps({"examples": [example] * 2, "tolerance": 1e-3}))
    return folder


def test_recorded_answers_within_the_tolerance_pass(tmp_path: Path) -> None:
    assert check(golden(tmp_path), ABOUT, judge) == 2


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"label": "no"}, "example 1 is yes, recorded as no"),
        ({"probabilities": [0.25, 0.75]}, r"probabilities 0\.05 apart, allowed 0\.001"),
        ({"probabilities": [float("nan"), 0.8]}, "probabilities nan apart"),
        ({"probabilities": [0.1, 0.1, 0.8]}, "has 3 probabilities, the model gives 2"),
    ],
)
def test_a_model_that_answers_otherwise_is_refused_and_no_text_is_repeated(tmp_path: Path, fields: dict, words: str) -> None:
    with pytest.raises(GoldenError, match=words) as caught:
        check(golden(tmp_path, **fields), ABOUT, judge)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"examples": []}', '{"examples": [], "tolerance": 1}', '{"examples": [{}], "tolerance": "x"}']
)
def test_a_damaged_file_is_told_by_its_place(tmp_path: Path, content: str) -> None:
    (tmp_path / "golden.json").write_text(content)
    with pytest.raises(GoldenError, match=r"golden\.json .*dvc repro package"):
        check(tmp_path, ABOUT, judge)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(GoldenError, match=r"golden\.json is missing"):
        check(tmp_path, ABOUT, judge)


def test_a_worker_whose_model_answers_otherwise_never_listens(tmp_path: Path) -> None:
    root = bento(tmp_path / "src")
    write_golden(root, label="fraud")
    process = start_worker(root, tmp_path / "w.sock")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert out == ""
    assert "example 1 is card, recorded as fraud" in err
    assert "Traceback" not in err
    assert not (tmp_path / "w.sock").exists()


def test_a_worker_whose_files_were_changed_never_listens(tmp_path: Path) -> None:
    root = bento(tmp_path / "src")
    with (root / "artifact" / "model.onnx").open("ab") as file:
        file.write(b" ")
    process = start_worker(root, tmp_path / "w.sock")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "model.onnx is not the file that artifact.json was written for" in err
    assert not (tmp_path / "w.sock").exists()
