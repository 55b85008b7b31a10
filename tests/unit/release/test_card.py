import copy
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from evergreen.release.card import model_card
from tests.dossier_factories import many_labels, origin, params, reports


def write_card(found: dict, folder: Path, knobs: dict | None = None) -> str:
    (folder / "raw").write_bytes(b"rows")
    return model_card(found, params=knobs or params(), provenance=origin(found, folder / "raw"))


def test_the_hub_reads_the_metadata_and_its_metrics(tmp_path: Path) -> None:
    data = ModelCard(write_card(reports(), tmp_path)).data
    assert (data.license, data.language, data.base_model) == ("cc0-1.0", ["en"], "sentence-transformers/all-MiniLM-L6-v2")
    assert data.pipeline_tag == "text-classification"
    found = {result.metric_name: result.metric_value for result in data.eval_results}
    assert (found["Accuracy"], found["Macro F1"]) == (0.859, 0.853)
    assert {result.dataset_split for result in data.eval_results} == {"test"}


def test_a_local_backbone_is_no_base_model_of_the_hub(tmp_path: Path) -> None:
    knobs = params()
    knobs["finetune"]["backbone"] = {"source": "/models/mine", "revision": None, "sha256": None, "allow_download": False}
    card = write_card(reports(), tmp_path, knobs)
    assert "base_model" not in yaml.safe_load(card.split("---")[1])


def test_the_card_tells_verdict_limits_results_groups_and_provenance(tmp_path: Path) -> None:
    card = write_card(reports(), tmp_path)
    for part in ("**HOLD**", "Not for deciding about a customer", "0.859", "0.819 to 0.899", "too few rows", "e" * 64, "35 phone"):
        assert part in card, part


def test_every_label_stands_in_the_table(tmp_path: Path) -> None:
    card = write_card(reports(many_labels(77)), tmp_path)
    assert sum(line.startswith(("| card_", "| transfer_")) for line in card.splitlines()) == 77


@pytest.mark.parametrize("text", ["a | b", "two\nlines", "<script>alert(1)</script>", "title: [x"])
def test_texts_of_a_user_break_neither_table_nor_metadata(tmp_path: Path, text: str) -> None:
    found, knobs = reports(), params()
    found["audit"]["columns"][0]["groups"][0]["group"] = text
    knobs["document"] = {**knobs["document"], "title": text}
    card = write_card(found, tmp_path, knobs)
    assert ModelCard(card).data.eval_results[0].task_name == text
    row = next(line for line in card.splitlines() if line.startswith("| first_language |"))
    assert row.replace("\\|", "").count("|") == 5
    assert "<script>" not in card.split("---", 2)[2]


def test_a_model_without_groups_says_why_nothing_was_audited(tmp_path: Path) -> None:
    found = copy.deepcopy(reports())
    found["audit"] |= {"columns": [], "intersections": [], "worst_group": None, "largest_gap": None, "reason": "the data names no groups"}
    assert "Nothing was audited: the data names no groups." in write_card(found, tmp_path)


def test_the_same_reports_give_the_same_card(tmp_path: Path) -> None:
    assert write_card(reports(), tmp_path) == write_card(reports(), tmp_path)


def test_a_model_that_went_on_from_another_names_it_and_keeps_its_base_model(tmp_path: Path) -> None:
    found = reports()
    found["training"] |= {"start": {"source": "champion/classifier", "sha256": "f" * 64}, "members": 3, "epochs_run": 9}
    card = write_card(found, tmp_path)
    assert "base_model: sentence-transformers/all-MiniLM-L6-v2" in card
    assert "Started from the weights of v1.2.0, which goes back to `sentence-transformers/all-MiniLM-L6-v2`; " in card
    assert "the weights of 3 trainings averaged, in all 9 epochs on 930 rows" in card
