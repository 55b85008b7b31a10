"""Personal data that nobody has: strings of every kind that the project says it masks, well formed and made up."""

import random

from evergreen.data.personal_data import IBAN_LENGTHS, KINDS, luhn

SENTENCES = ("card {}", "please call me, {} thanks", "savings: {}.", "My data ({}) please help", "{}", "fraud today\n{}\nhelp")


def planted(number: int, seed: int = 17) -> list[tuple[str, str]]:
    """Return so many texts around personal data, as (text, the personal data in it), the kinds in turn."""
    chance = random.Random(seed)
    told = []
    for place in range(number):
        found = MAKERS[KINDS[place % len(KINDS)]](chance)
        told.append((chance.choice(SENTENCES).format(found), found))
    return told


def _digits(chance: random.Random, number: int) -> str:
    return "".join(chance.choices("0123456789", k=number))


def _email(chance: random.Random) -> str:
    name = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=9))
    return f"{name}.{_digits(chance, 3)}@mail-{_digits(chance, 2)}.example"


def _card(chance: random.Random) -> str:
    body = f"4{_digits(chance, 14)}"
    whole = next(body + digit for digit in "0123456789" if luhn(body + digit))
    return chance.choice(["", " ", "-"]).join(whole[place : place + 4] for place in range(0, 16, 4))


def _iban(chance: random.Random) -> str:
    country = chance.choice(["DE", "NL", "FR", "PL", "ES"])
    body = _digits(chance, IBAN_LENGTHS[country] - 4)
    check = 98 - int("".join(str(int(character, 36)) for character in f"{body}{country}00")) % 97
    return f"{country}{check:02d}{body}"


def _phone(chance: random.Random) -> str:
    return chance.choice([f"+44 7{_digits(chance, 3)} {_digits(chance, 6)}", f"07{_digits(chance, 3)} {_digits(chance, 6)}"])


def _account(chance: random.Random) -> str:
    return f"sort code 2{_digits(chance, 1)}-9{_digits(chance, 1)}-9{_digits(chance, 1)} account 9{_digits(chance, 7)}"


MAKERS = {"email": _email, "card": _card, "iban": _iban, "phone": _phone, "account": _account}
