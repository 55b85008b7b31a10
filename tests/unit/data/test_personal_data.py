import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.data.personal_data import IBAN_LENGTHS, KINDS, iban_fits, luhn, mask

# Numbers from ranges kept for examples: Ofcom's drama numbers, test cards, the registry's example IBANs.
MASKED = [
    ("write to o'brien+x@mail.example.co.uk.", "write to [EMAIL]."),
    ("资料767514612@qq.com", "资料[EMAIL]"),
    ("ring 020 7946 0127 or 07700 900118", "ring [PHONE] or [PHONE]"),
    ("07700 900118 07700 900119", "[PHONE] [PHONE]"),
    ("(01632) 960001, 01632 960 001, 0800 123 456", "[PHONE], [PHONE], [PHONE]"),
    ("+44 (0)20 7946 0958, 0044 20 7946 0958, +353 87 123 4567", "[PHONE], [PHONE], [PHONE]"),
    ("+1 (212) 555-0123 and 212-555-0123", "[PHONE] and [PHONE]"),
    ("card 4111 1111 1111 1111, 5555-5555-5555-4444, 378282246310005", "card [CARD], [CARD], [CARD]"),
    ("to GB82 WEST 1234 5698 7654 32 thanks", "to [IBAN] thanks"),
    ("de89370400440532013000.", "[IBAN]."),
    ("Should have been 00-00-00 12345678, I put 12345687.", "Should have been [ACCOUNT] [ACCOUNT], I put [ACCOUNT]."),
    ("sort code 20-00-00 account number 5577 9911", "sort code [ACCOUNT] account number [ACCOUNT]"),
    ("my sort code and account are 00-00-00 and 20406080", "my sort code and account are [ACCOUNT] and [ACCOUNT]"),
    ("sort code: 01-02-03", "sort code: [ACCOUNT]"),
    ("acct 12345634", "acct [ACCOUNT]"),
    ("Please credit 12349876 and", "Please credit [ACCOUNT] and"),
]
LEFT_ALONE = [
    "£12,345,678.90 on 12/05/2024 at 10:30:15, again at 16:30",
    "on 2024-05-12, 12.05.2024, 12-05-24 and 20240512 for my account",
    "order 12345678, order number 0123456789, ref: 07700900118",
    "cheque, number 100482; application ref HB20931; RM-77120-48",
    "1 540 instead of 1 450; 2.000 USD; 90.000 euro; 0.123456789",
    "card ending 4444, account ending 5678, statements 24/25",
    "my account paid 12345678 pounds, EUR 12345678 and £ 12345678",
    "two sacks of Atlas 14-14-14",
    "ISBN 978-0-306-40615-7, version 10.0.19045.3803, 192.168.100.200",
    "4111 1111 1111 1112 has no fitting check digit",
    "GB82 WEST 1234 5698 7654 33 has none either",
    "tracking 00340434161094042557",
    "ok@ok, @harbour, LTD SERVICES 4471",
]


@pytest.mark.parametrize(("text", "expected"), MASKED)
def test_personal_data_becomes_typed_tokens(text: str, expected: str) -> None:
    masked, found = mask(text, KINDS)
    assert masked == expected
    assert found == {kind: expected.count(f"[{kind.upper()}]") for kind in KINDS if f"[{kind.upper()}]" in expected}


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_amounts_dates_times_and_order_numbers_stay(text: str) -> None:
    assert mask(text, KINDS) == (text, {})


def test_only_the_kinds_asked_for_are_masked() -> None:
    assert mask("a@example.com 07700 900118", ["email"]) == ("[EMAIL] 07700 900118", {"email": 1})
    assert mask("a@example.com", []) == ("a@example.com", {})


def check_digit(payload: str) -> str:
    return next(digit for digit in "0123456789" if luhn(payload + digit))


def iban(country: str, account: str) -> str:
    account = account[: IBAN_LENGTHS[country] - 4]
    remainder = int("".join(str(int(character, 36)) for character in account + country + "00")) % 97
    return f"{country}{98 - remainder:02d}{account}"


digits = st.text("0123456789", min_size=12, max_size=17)


@given(digits)
def test_luhn_accepts_exactly_one_check_digit(payload: str) -> None:
    assert sum(luhn(payload + digit) for digit in "0123456789") == 1


@given(digits, st.data())
def test_luhn_notices_any_single_wrong_digit(payload: str, data: st.DataObject) -> None:
    number = payload + check_digit(payload)
    place = data.draw(st.integers(0, len(number) - 1))
    wrong = data.draw(st.sampled_from([digit for digit in "0123456789" if digit != number[place]]))
    assert not luhn(number[:place] + wrong + number[place + 1 :])


@given(st.sampled_from(sorted(IBAN_LENGTHS)), st.text("0123456789ABCXYZ", min_size=30, max_size=30), st.sampled_from(["", " ", "-"]))
def test_every_valid_iban_is_masked_however_it_is_grouped(country: str, account: str, mark: str) -> None:
    whole = iban(country, account)
    assert iban_fits(whole)
    grouped = mark.join(re.findall(".{1,4}", whole))
    assert mask(f"send to {grouped}, please", ["iban"]) == ("send to [IBAN], please", {"iban": 1})


@given(st.sampled_from(sorted(IBAN_LENGTHS)), st.text("0123456789", min_size=30, max_size=30), st.data())
def test_an_iban_with_one_wrong_digit_does_not_fit(country: str, account: str, data: st.DataObject) -> None:
    whole = iban(country, account)
    place = data.draw(st.integers(4, len(whole) - 1))
    wrong = data.draw(st.sampled_from([digit for digit in "0123456789" if digit != whole[place]]))
    assert not iban_fits(whole[:place] + wrong + whole[place + 1 :])


@given(st.from_regex(r"[2-6][0-9]{11,17}", fullmatch=True), st.sampled_from(["", " ", "-"]))
def test_every_card_number_with_its_check_digit_is_masked(payload: str, mark: str) -> None:
    grouped = mark.join(re.findall(".{1,4}", payload + check_digit(payload)))
    assert mask(f"my card is {grouped}.", ["card"]) == ("my card is [CARD].", {"card": 1})


pieces = st.sampled_from(
    [
        "07700 900118",
        "12345678",
        "00-00-00",
        "account",
        "4111 1111 1111 1111",
        "GB82WEST12345698765432",
        "a@example.com",
        "£12",
        "ref",
        ", ",
        " ",
        "-",
        "0",
        "+44",
    ]
)


@given(st.lists(pieces, max_size=12).map("".join))
def test_masking_twice_changes_nothing(text: str) -> None:
    once, _ = mask(text, KINDS)
    assert mask(once, KINDS) == (once, {})
