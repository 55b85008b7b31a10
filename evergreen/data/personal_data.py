"""Personal data in a text: found by form and checksum, replaced by a typed token such as [EMAIL].

Masks what identifies or pays a person and leaves amounts, dates, times and order numbers alone. It finds forms, not meaning:
names and addresses stay. Imports the standard library alone, because the service masks its requests with it too.
"""

import re
from collections.abc import Callable, Collection

# In this order: an IBAN holds digits that look like a card, a card digits that look like a phone.
KINDS = ("email", "iban", "card", "account", "phone")
TOKENS = {kind: f"[{kind.upper()}]" for kind in KINDS}

# Length of an IBAN by country (SWIFT IBAN registry, release 99).
IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FI FK FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK", 21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL", 24: "AD CZ DZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST",
        26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HN HU LB NI PL SV", 29: "BR EG PS QA UA", 30: "JO KW MU",
        31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip

EMAIL = re.compile(r"(?<![\w.+%'-])[\w+%][\w.+%'-]*@[\w-]+(?:\.[\w-]+)+", re.ASCII)
IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,30}")
CARD = re.compile(r"(?<![\d.,/-])(?<!\d )[2-6]\d{3}(?:[ -]?\d){8,15}(?![\d/]|[.,-]\d)")

# A number behind one of these names a thing, not a person: "order 12345678", "ref: 0123456789", "#12345678".
THING = re.compile(
    r"(?:\b(?:order|orders|ref|refs|reference|invoice|case|ticket|parcel|tracking|booking|application|claim|cheque|transaction|policy|complaint)\b"
    r"[\s:.#-]*(?:(?:is|was|no|nr|num|number|id)\b[\s:.#-]*){0,2}|#\s*)$",
    re.IGNORECASE,
)
MONEY_BEFORE = re.compile(r"(?:[£$€¥]|\b(?:GBP|EUR|USD))\s*$", re.IGNORECASE)
MONEY_BEHIND = re.compile(r"\s*(?:[£$€¥%]|(?:pounds?|quid|euros?|dollars?|gbp|eur|usd)\b)", re.IGNORECASE)
SORT_CODE = r"\d{2}(?P<mark>[- ]|)\d{2}(?P=mark)\d{2}"
EIGHT = r"\d{8}|\d{4} \d{4}"
# A sort code and, a word or two later, the account number.
PAIR = re.compile(
    rf"(?<![\d-])(?P<sort>{SORT_CODE})"
    r"(?P<between>[\s,;:/.&-]{1,3}(?:(?:and|account|acc|acct|a/c|number|no|is|the|my)\b[\s,;:/.&-]*){0,4})"
    rf"(?P<number>{EIGHT})(?![\d-]|[.,]\d)",
    re.IGNORECASE,
)
SORT_ALONE = re.compile(r"(?<![\d./-])\d{2}-\d{2}-\d{2}(?![\d/-]|[.,]\d)")
SORT_NAMED = re.compile(
    rf"(?P<name>\bsort(?:[ -]?code)?s?\b[\s:,.-]*(?:(?:is|was|of|no|number)\b[\s:]*){{0,2}})(?:{SORT_CODE})(?!\d|[.,-]\d)", re.IGNORECASE
)
NUMBER_ALONE = re.compile(r"(?<![\d.,/+-])(?<!\d )(?<![A-Za-z])\d{8}(?![\d/%-]|[.,]\d| \d)(?![A-Za-z])")
NUMBER_NAMED = re.compile(
    r"(?P<name>\b(?:account|acct|acc|a/c)s?\b[\s:,.-]*(?:(?:is|was|no|num|number|of)\b[\s:.]*){0,2})"
    r"(?:\d{8}|\d{4} \d{4}|\d{2} \d{2} \d{2} \d{2})(?![\d-]|[.,]\d| \d)",
    re.IGNORECASE,
)
ACCOUNT_TALK = re.compile(r"\b(?:accounts?|acct|acc|a/c|sort code)\b|\[ACCOUNT\]|\b(?:credit|debit|pay|into|from|to)\s+$", re.IGNORECASE)
PHONE = re.compile(
    r"(?<![\d.,/+£$€#-])(?<!\d )(?<![A-Za-z])"
    r"(?:(?:\+|\b00)\d{1,3}[ .-]?(?:\(0\)[ .-]?)?(?:\(?\d{1,5}\)?[ .-]?){1,5}\d{2,4}"  # international: +44 20 7946 0127, 00353 87 123 4567
    r"|\(?0\d{2,5}\)?[ .-]?\d{3,4}[ .-]?\d{3,4}"  # national: 020 7946 0127, 07700 900118, (01632) 960 123
    r"|0\d{3}[ .-]?\d{3}[ .-]?\d{2}[ .-]?\d{2}"
    r"|\(\d{3}\) ?\d{3}[ .-]\d{4}|\d{3}[.-]\d{3}[.-]\d{4})"  # North America: (212) 555-0123, 212-555-0123
    r"(?![\d/%]|[.,-]\d)"
)


def mask(text: str, kinds: Collection[str]) -> tuple[str, dict[str, int]]:
    """Return the text with every piece of personal data of these kinds as its token, and how many of each kind there were.

    Masking a masked text changes nothing.
    """
    found: dict[str, int] = {}
    again = True
    while again:  # a token in the place of one number may show that the digits beside it are another
        again = False
        for kind in KINDS:
            if kind in kinds:
                text, number = FINDERS[kind](text)
                if number:
                    found[kind] = found.get(kind, 0) + number
                    again = True
    return text, found


def luhn(digits: str) -> bool:
    """Return whether a card number's check digit fits (ISO/IEC 7812-1, annex B)."""
    doubled = (int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(digits)))
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def iban_fits(iban: str) -> bool:
    """Return whether an IBAN without separators has its country's length and a fitting checksum (ISO 13616, mod 97)."""
    iban = iban.upper()
    if len(iban) != IBAN_LENGTHS.get(iban[:2]):
        return False
    return int("".join(str(int(character, 36)) for character in iban[4:] + iban[:4])) % 97 == 1


def _replace(pattern: re.Pattern[str], text: str, decide: Callable[[re.Match[str]], str | None]) -> tuple[str, int]:
    """Replace each match for which `decide` gives a text; return the result and the number of replacements."""
    number = 0

    def swap(match: re.Match[str]) -> str:
        nonlocal number
        new = decide(match)
        number += new is not None
        return match[0] if new is None else new

    return pattern.sub(swap, text), number


def _emails(text: str) -> tuple[str, int]:
    return _replace(EMAIL, text, lambda _: TOKENS["email"])


def _ibans(text: str) -> tuple[str, int]:
    def decide(match: re.Match[str]) -> str | None:
        wanted, taken = IBAN_LENGTHS.get(match[0][:2].upper(), 0), 0
        for place, character in enumerate(match[0]):
            taken += character.isalnum()
            if taken == wanted:  # the words behind an IBAN in groups of four look like a part of it
                rest = match[0][place + 1 :]
                whole = re.sub("[ -]", "", match[0][: place + 1])
                return TOKENS["iban"] + rest if iban_fits(whole) and not rest[:1].isalnum() else None
        return None

    return _replace(IBAN, text, decide)


def _cards(text: str) -> tuple[str, int]:
    def decide(match: re.Match[str]) -> str | None:
        digits = re.sub(r"\D", "", match[0])
        return TOKENS["card"] if 13 <= len(digits) <= 19 and luhn(digits) else None

    return _replace(CARD, text, decide)


def _accounts(text: str) -> tuple[str, int]:
    """Mask sort codes and account numbers: where they stand together, are named, or where the text speaks of an account."""
    token = TOKENS["account"]
    total = 0

    def pair(match: re.Match[str]) -> str | None:
        return None if _date(match["sort"]) and _date(match["number"]) else token + match["between"] + token

    def alone(match: re.Match[str]) -> str | None:
        before = match.string[: match.start()]
        talk = ACCOUNT_TALK.search(match.string) or ACCOUNT_TALK.search(before)
        money = MONEY_BEFORE.search(before) or MONEY_BEHIND.match(match.string, match.end())
        return token if talk and not THING.search(before) and not money and not _date(match[0]) else None

    def sort_alone(match: re.Match[str]) -> str | None:
        talk = ACCOUNT_TALK.search(match.string)
        return None if not talk or _date(match[0]) or THING.search(match.string[: match.start()]) else token

    steps: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str | None]], ...] = (
        (PAIR, pair),
        (SORT_NAMED, lambda match: match["name"] + token),
        (NUMBER_NAMED, lambda match: match["name"] + token),
        (SORT_ALONE, sort_alone),
        (NUMBER_ALONE, alone),
    )
    for pattern, decide in steps:
        text, number = _replace(pattern, text, decide)
        total += number * (2 if pattern is PAIR else 1)
    return text, total


def _date(digits: str) -> bool:
    """Return whether six or eight digits may be a date: 12-05-24, 24-05-12, 20240512 or 12052024."""
    parts = re.findall(r"\d{2}", digits)
    if len(parts) == 3:
        first, middle, last = map(int, parts)
        return (
            (1 <= first <= 31 and 1 <= middle <= 12) or (1 <= first <= 12 and 1 <= middle <= 31) or (1 <= middle <= 12 and 1 <= last <= 31)
        )
    first, second, third, fourth = map(int, parts)
    newest_first = first in (19, 20) and 1 <= third <= 12 and 1 <= fourth <= 31
    return newest_first or (1 <= first <= 31 and 1 <= second <= 12 and third in (19, 20))


def _phones(text: str) -> tuple[str, int]:
    def decide(match: re.Match[str]) -> str | None:
        digits = re.sub(r"\D", "", match[0].replace("(0)", ""))
        before = match.string[: match.start()]
        if THING.search(before) or MONEY_BEFORE.search(before):
            return None
        international = match[0].startswith(("+", "00"))
        fits = 8 <= len(digits) <= 15 + 2 * match[0].startswith("00") if international else 10 <= len(digits) <= 11
        return TOKENS["phone"] if fits else None

    return _replace(PHONE, text, decide)


FINDERS: dict[str, Callable[[str], tuple[str, int]]] = {
    "email": _emails,
    "iban": _ibans,
    "card": _cards,
    "account": _accounts,
    "phone": _phones,
}
