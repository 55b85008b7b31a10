import pandas as pd
import pytest

from evergreen.data.profile import Spread, language, profile, scripts, suggest
from evergreen.sections.pipeline import SPLITS, Fractions
from tests.data_factories import good_rows, params, rows


def test_a_profile_says_what_is_there() -> None:
    table = rows(
        ["card lost", "card lost", "fee?", "fee?", "  ", "Где моя карта"], ["card", "card", "fees", "card", "card", "card "],
        group_age=["a", "a", "b", "b", "missing", "a"], split=["train"] * 4 + ["test"] * 2,
        timestamp=pd.to_datetime(["2025-01-02", "2025-03-04"] * 3),
    )  # fmt: skip
    found = profile(table)
    assert found.labels == {"card": 5, "fees": 1}
    assert found.imbalance == 5.0
    assert (found.empties, found.duplicates, found.conflicts) == (1, 2, 2)
    assert found.scripts == {"latin": 0.8, "cyrillic": 0.2}
    assert found.characters == Spread(least=0, median=6, p99=12, most=13)
    assert found.words == Spread(least=0, median=1, p99=2, most=3)
    assert found.period == ("2025-01-02", "2025-03-04")
    assert found.groups == {"age": {"a": 3, "b": 2, "missing": 1}}
    assert found.splits == {"test": 2, "train": 4}
    assert found.customers is None


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("hello", "latin"),
        ("你好 ok", "han"),
        ("привет", "cyrillic"),
        ("مرحبا", "arabic"),
        ("ひらがなカタカナ", "kana"),
        ("안녕", "hangul"),
        ("12:30 !!", "no letters"),
    ],
)
def test_a_text_counts_for_the_script_of_most_of_its_letters(text: str, script: str) -> None:
    assert scripts([text]) == {script: 1.0}


@pytest.mark.parametrize(("text", "code"), [("hello there", "en"), ("你好世界", "zh"), ("привет", "und"), ("123", "en")])
def test_the_language_is_only_said_where_the_script_tells(text: str, code: str) -> None:
    assert language(profile(rows([text] * 2, ["x", "y"]))) == code


def test_groups_switch_the_group_rules_on_and_their_absence_off() -> None:
    without = profile(good_rows())
    grouped = profile(good_rows().assign(group_age="a"))
    off = suggest(without, params())
    assert (off["gate.rules.worst_group"], off["gate.rules.fairness_gap"]) == (None, None)
    assert "gate.rules.worst_group" not in suggest(grouped, params())
    rules = params().gate.rules.model_copy(update={"worst_group": None, "fairness_gap": None})
    bare = params().model_copy(update={"gate": params().gate.model_copy(update={"rules": rules})})
    on = suggest(grouped, bare)
    assert on["gate.rules.worst_group"] == {"min_value": 0.70, "failure": "hold"}
    assert on["gate.rules.fairness_gap"] == {"max_upper": 0.20, "failure": "hold"}


def test_splits_of_the_source_are_used() -> None:
    assert suggest(profile(good_rows().assign(split="train")), params())["split.method"] == "given"
    assert "split.method" not in suggest(profile(good_rows()), params())


@pytest.mark.parametrize(("words", "tokens"), [(10, 64), (60, 128), (1000, 256)])
def test_the_token_window_holds_the_longest_text(words: int, tokens: int) -> None:
    changes = suggest(profile(rows(["word " * words] * 4, ["x", "y"] * 2)), params())
    assert changes.get("finetune.max_tokens", params().finetune.max_tokens) == tokens


def test_many_rows_leave_more_of_them_to_training() -> None:
    changes = suggest(profile(good_rows(6000).assign(split=["train"] * 4800 + ["test"] * 1200)), params())
    shares = {name: changes[f"split.fractions.{name}"] for name in ("train", "validation", "calibration", "test")}
    assert shares == {"train": 0.72, "validation": 0.04, "calibration": 0.04, "test": 0.2}


@pytest.mark.parametrize(("train", "test"), [(400, 6000), (600, 5400), (4991, 9)])
def test_a_given_test_split_of_any_size_leaves_nine_tenths_of_the_rest_to_training(train: int, test: int) -> None:
    table = good_rows(train + test).assign(split=["train"] * train + ["test"] * test)
    changes = suggest(profile(table), params())
    shares = Fractions(**{name: changes[f"split.fractions.{name}"] for name in SPLITS})
    assert shares.test == pytest.approx(test / (train + test), abs=1e-6)
    assert shares.validation == shares.calibration
    assert shares.train / (1 - shares.test) == pytest.approx(0.9, abs=1e-4)


def test_trainings_are_averaged_where_rows_are_few() -> None:
    assert "retrain.members" not in suggest(profile(good_rows(6000)), params())
    assert suggest(profile(good_rows(20_000)), params())["retrain.members"] == 1


def test_east_asian_punctuation_is_kept_full_width() -> None:
    assert suggest(profile(rows(["你好，世界"] * 2, ["x", "y"])), params())["clean.unicode_form"] == "NFC"


def test_early_stopping_is_for_data_whose_validation_split_can_tell_epochs_apart() -> None:
    small, large = (suggest(profile(good_rows(count)), params()) for count in (1000, 6000))
    assert "finetune.keep" not in small and "finetune.patience" not in small  # the project's own params.yaml is for small data
    assert (large["finetune.keep"], large["finetune.patience"], large["finetune.label_smoothing"]) == ("best", 3, 0.1)
