"""Profile: what a table of examples is like at first sight, and which settings suit it.

Pure functions over the table of examples; knows nothing of files, of params.yaml's text, or of the terminal.
"""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from evergreen.config import Params
from evergreen.data.quality import counts
from evergreen.data.records import context_columns, group_columns, group_name
from evergreen.sections.pipeline import SPLITS

SCRIPT_SAMPLE = 5000  # texts looked at for their script
LANGUAGE_OF_SCRIPT = {"han": "zh", "kana": "ja", "hangul": "ko", "greek": "el", "hebrew": "he", "thai": "th"}
NOT_SPACED = {"han", "kana", "thai", "lao", "khmer", "myanmar"}  # scripts that put no space between words
EAST_ASIAN = {"han", "kana", "hangul"}
SCRIPT_NAMES = {"cjk": "han", "hiragana": "kana", "katakana": "kana"}
LARGE = 5000  # rows from which on small shares are enough rows to stop, calibrate and test on
TOKENS_PER_WORD = 1.5  # sub-word tokens in an English word, on the generous side
CHARACTERS_PER_TOKEN = 3  # few, as in capitals and abbreviations
SMALLEST_WINDOW, LARGEST_WINDOW = 64, 256  # tokens; the default backbone was trained on 256
WORST_GROUP = {"min_value": 0.70, "failure": "hold"}
FAIRNESS_GAP = {"max_upper": 0.20, "failure": "hold"}


@dataclass(frozen=True)
class Spread:
    """Quantiles of a length."""

    least: int
    median: int
    p99: int
    most: int

    @classmethod
    def of(cls, values: "pd.Series[int]") -> "Spread":
        """Return the quantiles of a column of numbers."""
        return cls(int(values.min()), int(values.median()), int(values.quantile(0.99)), int(values.max()))


@dataclass(frozen=True)
class Profile:
    """What a table of examples is like. Counts are rows; `scripts` are shares of texts; dates are ISO 8601."""

    rows: int
    labels: dict[str, int]
    imbalance: float
    scripts: dict[str, float]
    characters: Spread
    words: Spread
    empties: int
    duplicates: int
    conflicts: int
    period: tuple[str, str] | None
    groups: dict[str, dict[str, int]]
    context: dict[str, dict[str, int]]
    customers: int | None
    splits: dict[str, int] | None


def profile(table: pd.DataFrame) -> Profile:
    """Describe a table of examples.

    `imbalance` is the largest label's rows over the smallest's; `duplicates` counts rows that repeat an earlier row's
    text, `conflicts` rows whose text stands under several labels.
    """
    texts, labels = table["text"].str.strip(), table["label"].str.strip()
    filled = texts != ""
    number = labels[labels != ""].value_counts()
    times = table["timestamp"] if "timestamp" in table.columns else None
    return Profile(
        rows=len(table),
        labels=counts(labels[labels != ""]),
        imbalance=float(number.max() / number.min()) if len(number) else 1.0,
        scripts=scripts(texts[filled].tolist()),
        characters=Spread.of(texts.str.len()),
        words=Spread.of(texts.map(lambda text: len(text.split()))),
        empties=int((~filled).sum()),
        duplicates=int(texts[filled].duplicated().sum()),
        conflicts=int((labels.groupby(texts).transform("nunique").gt(1) & filled).sum()),
        period=None if times is None else (times.min().date().isoformat(), times.max().date().isoformat()),
        groups={group_name(column): counts(table[column]) for column in group_columns(table)},
        context={group_name(column): counts(table[column]) for column in context_columns(table)},
        customers=int(table["customer"].nunique()) if "customer" in table.columns else None,
        splits=counts(table["split"]) if "split" in table.columns else None,
    )


def scripts(texts: Sequence[str]) -> dict[str, float]:
    """Return the share of texts (of an even sample) by the script of most of their letters, most frequent first."""
    step = max(1, len(texts) // SCRIPT_SAMPLE)
    found = Counter(_script_of_text(text) for text in texts[::step])
    return {script: rows / found.total() for script, rows in found.most_common()}


def _script_of_text(text: str) -> str:
    letters = Counter(_script(character) for character in text if character.isalpha())
    return letters.most_common(1)[0][0] if letters else "no letters"


@cache
def _script(letter: str) -> str:
    """Return the script of a letter, from the first word of its Unicode name."""
    first = unicodedata.name(letter, "other").split()[0].split("-")[0].lower()
    return SCRIPT_NAMES.get(first, first)


def suggest(found: Profile, params: Params) -> dict[str, Any]:
    """Return the changes of params.yaml that suit the data: dotted places and their values, only where they differ.

    What belongs to the columns (ingest.*) and to names (document.*) is not decided here.
    """
    wanted: dict[str, Any] = {"split.method": "given" if found.splits else _method(params)}
    wanted |= _fractions(found) if found.rows >= LARGE else {}
    wanted["finetune.epochs"] = 9 if found.rows < LARGE else 8 if found.rows < 4 * LARGE else 3
    wanted["finetune.batch_size"] = 16 if found.rows < LARGE else 32
    # A validation split of a few dozen rows says more about its own luck than about the best epoch.
    wanted["finetune.keep"], wanted["finetune.patience"] = ("last", 0) if found.rows < LARGE else ("best", 3)
    # Trainings on many rows owe little to luck, and take long.
    wanted["retrain.members"] = 3 if found.rows < 4 * LARGE else 1
    wanted["finetune.label_smoothing"] = 0.0 if found.rows < LARGE else 0.1
    wanted["finetune.max_tokens"] = _window(found)
    # NFKC would turn full-width punctuation, which East Asian models know, into ASCII.
    wanted["clean.unicode_form"] = "NFC" if next(iter(found.scripts), "latin") in EAST_ASIAN else params.clean.unicode_form
    wanted["document.language"] = language(found)
    rules = params.gate.rules
    wanted["gate.rules.worst_group"] = (rules.worst_group or WORST_GROUP) if found.groups else None
    wanted["gate.rules.fairness_gap"] = (rules.fairness_gap or FAIRNESS_GAP) if found.groups else None
    return {place: value for place, value in wanted.items() if value != _value(params, place)}


def language(found: Profile) -> str:
    """Return the ISO 639 code that the main script tells: en for Latin (a guess), und where one script serves many languages."""
    main = next(iter(found.scripts), "latin")
    return "en" if main in ("latin", "no letters") else LANGUAGE_OF_SCRIPT.get(main, "und")


def _method(params: Params) -> str:
    """Without splits of the source, a wish to split by time stays a wish."""
    return "time" if params.split.method == "time" and params.ingest.columns.time else "stratified"


def _fractions(found: Profile) -> dict[str, float]:
    """Return smaller shares for validation and calibration: of many rows, 5% of those outside test are enough, and training gains."""
    given = (found.splits or {}).get("test", 0)
    test = round(given / found.rows, 6) if given else 0.2
    small = round(0.05 * (1 - test), 6)
    shares = dict(zip(SPLITS, (round(1 - test - 2 * small, 6), small, small, test), strict=True))
    return {f"split.fractions.{name}": share for name, share in shares.items()}


def _window(found: Profile) -> int:
    """Return the tokens that hold the longest text, as a multiple of 32 in a sensible range; a wide window costs short texts nothing."""
    characters, words = found.characters.most, found.words.most
    spaced = next(iter(found.scripts), "latin") not in NOT_SPACED
    tokens = max(TOKENS_PER_WORD * words, characters / CHARACTERS_PER_TOKEN) if spaced else characters
    return int(np.clip(32 * np.ceil((tokens + 2) / 32), SMALLEST_WINDOW, LARGEST_WINDOW))


def _value(params: Params, place: str) -> Any:
    value: Any = params
    for name in place.split("."):
        value = getattr(value, name)
    return value
