from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from evergreen.config import load_params
from evergreen.errors import ConfigError
from evergreen.params_file import edit_params, edited
from tests.data_factories import ROOT

TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")


def changed_lines(new: str) -> list[tuple[str, str]]:
    return [(old, now) for old, now in zip(TEXT.splitlines(), new.splitlines(), strict=True) if old != now]


def test_an_edit_of_nothing_gives_the_same_bytes() -> None:
    assert edited(TEXT, {}) == TEXT


def test_an_edit_keeps_every_comment_and_every_other_line() -> None:
    new = edited(TEXT, {"ingest.columns.label": "kind", "finetune.epochs": 3})
    assert [now.split() for _, now in changed_lines(new)] == [
        ["label:", "kind", "#", "column", "with", "the", "class"],
        ["epochs:", "3", "#", "passes", "over", "the", "training", "rows,", "at", "most,", "of", "each", "member"],
    ]


def test_lists_maps_and_null_stay_on_their_line() -> None:
    new = edited(TEXT, {"ingest.columns.groups": ["a b", "c"], "ingest.columns.id": None, "gate.rules.worst_group": None})
    assert "groups: [a b, c] " in new
    assert "id: null " in new
    assert "worst_group: null " in new
    again = edited(new, {"gate.rules.worst_group": {"min_value": 0.7, "failure": "hold"}})
    assert "worst_group: {min_value: 0.7, failure: hold} " in again


awkward = st.sampled_from(
    ["no", "1", "null", "a: b", "x # y", "[", "", "1.5e-4", "~", "2025-01-01", "- a", "{b}", " c", "'", '"', "!d", "&e", "*f", "%g", "@h"]
)


@given(awkward | st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=20))
def test_any_name_is_read_back_as_it_was(name: str) -> None:
    content = yaml.safe_load(edited("text: old # comment\ngroups: [one]\n", {"text": name, "groups": [name]}))
    assert content == {"text": name, "groups": [name]}


def test_an_edit_that_would_not_be_valid_leaves_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(TEXT, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"split\.fractions: .*the fractions sum to 1\.28"):
        edit_params(path, {"split.fractions.train": 0.9})
    assert path.read_text(encoding="utf-8") == TEXT
    assert list(tmp_path.iterdir()) == [path]


def test_an_edit_is_written(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(TEXT, encoding="utf-8")
    edit_params(path, {"document.name": "mine", "split.method": "time"})
    assert (load_params(path).document.name, load_params(path).split.method) == ("mine", "time")
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is missing; run from the project's folder"):
        edit_params(tmp_path / "params.yaml", {})
