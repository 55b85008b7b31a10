"""The cleaning of one text: the same function before training and before an answer, because the model knows only cleaned text.

Imports the standard library alone, so that the service needs no more.
"""

import re
import unicodedata
from collections.abc import Collection
from typing import Literal

from evergreen.data.personal_data import KINDS, mask

Form = Literal["NFC", "NFKC", "none"]

# Control characters other than tab and line ends; C1 controls are damage or terminal codes, never text.
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")
# Soft hyphen, zero-width space, direction marks, word joiner and kin, byte-order mark.
INVISIBLE = re.compile("[\u00ad\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")
# Joiners shape emoji and the scripts of Iran and India: they go only where no such character stands on both sides.
STRAY_JOINER = re.compile("(?<![^\x00-\x7f])[\u200c\u200d]+|[\u200c\u200d]+(?![^\x00-\x7f])")
SPACE = re.compile(r"\s+")


def normalise(text: str, *, unicode_form: Form) -> str:
    """Return the text without control and zero-width characters, in one Unicode form, each run of whitespace as one space.

    Applying it twice gives the same as applying it once.
    """
    before = None
    while before != text:  # a character that goes may let its neighbours compose, and the other way round
        before = text
        text = STRAY_JOINER.sub("", INVISIBLE.sub("", CONTROL.sub("", text)))
        if unicode_form != "none":
            text = unicodedata.normalize(unicode_form, text)
        text = SPACE.sub(" ", text).strip()
    return text


def clean_text(text: str, *, unicode_form: Form, masked: Collection[str]) -> tuple[str, dict[str, int]]:
    """Return the text as the model sees it, and how much of each kind of personal data was masked in it.

    `masked` names the kinds (see `personal_data.KINDS`); kinds that were not found are absent from the counts.
    """
    return mask(normalise(text, unicode_form=unicode_form), masked)


def beginning(text: str, *, characters: int = 80) -> str:
    """Return the beginning of a text in quotes, every piece of personal data as its token: messages travel further than data."""
    masked, _ = mask(text, KINDS)
    return repr(masked if len(masked) <= characters else masked[: characters - 1] + "…")
