import csv
import io
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.data.personal_data import KINDS
from evergreen.data.text import clean_text, normalise
from tests.data_factories import INBOX, ROOT

FORMS = ("NFC", "NFKC", "none")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  two\r\n lines\tand\u00a0more ", "two lines and more"),
        ("zero\u200bwidth, soft\u00adhyphen, \ufeffmark, \u202eturned", "zerowidth, softhyphen, mark, turned"),
        ("bell\x07 and \x1b[31mred\x85", "bell and [31mred"),
        ("Cafe\u0301 ﬁne １２", "Café fine 12"),
        ("a\u200db", "ab"),
        ("👩\u200d💻 می\u200cخواهم", "👩\u200d💻 می\u200cخواهم"),
        ("", ""),
    ],
)
def test_texts_come_out_in_one_form(text: str, expected: str) -> None:
    assert normalise(text, unicode_form="NFKC") == expected


def test_nfc_keeps_compatibility_characters() -> None:
    assert normalise("Cafe\u0301 ﬁne，", unicode_form="NFC") == "Café ﬁne，"


@given(st.text(max_size=60) | st.text("a é\u0301\u200d\u200c\u200b\ufeff\u00ad\u00a0\n\x07´½ﬁ👩", max_size=20), st.sampled_from(FORMS))
def test_cleaning_twice_is_cleaning_once(text: str, form: str) -> None:
    once, _ = clean_text(text, unicode_form=form, masked=KINDS)
    assert clean_text(once, unicode_form=form, masked=KINDS) == (once, {})


def test_full_width_digits_do_not_hide_a_phone_number() -> None:
    assert clean_text("０７７００ ９００１１８", unicode_form="NFKC", masked=KINDS) == ("[PHONE]", {"phone": 1})


def test_the_inbox_holds_no_contact_or_payment_data_after_cleaning() -> None:
    texts = [row["text"] for path in sorted(INBOX.glob("*.csv")) for row in csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))]
    cleaned = [clean_text(text, unicode_form="NFKC", masked=KINDS) for text in texts]
    held = [text for text, found in cleaned if found]
    assert 0.05 < len(held) / len(texts) < 0.07  # the datasheet says about 6%
    left = [text for text, _ in cleaned if "@" in text or "00-00-00" in text or "07700" in text or "7946" in text or "1111 1111" in text]
    assert left == []


def test_cleaning_a_text_needs_the_standard_library_alone() -> None:
    code = "import sys, evergreen.data.text; print([m for m in ('numpy', 'pandas', 'pydantic', 'yaml') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
