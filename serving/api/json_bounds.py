"""Is a JSON text small enough in structure to be parsed? Counts its parts and its depth without building any of them.

A few megabytes of `[1,1,1,…` become a hundred of objects once parsed, and a thousand keys become a thousand errors. What this
lets through may still be broken JSON; the parser says so.
"""

import re

# A whole string, or a string that never ends, or one structural character, or a run of anything else (a number, a word, damage).
PART = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}:,]|[^\s"\[\]{}:,]++', re.DOTALL)


class TooMuch(ValueError):
    """A JSON text of too many parts, or nested too deep."""


def check(body: bytes, *, parts: int, depth: int) -> None:
    """Raise TooMuch when a JSON text has more than `parts` parts (strings, numbers, brackets, commas, colons) or is deeper."""
    level = 0
    for count, found in enumerate(PART.finditer(body)):
        if count >= parts:
            raise TooMuch("more keys or list entries than a request can have")
        first = body[found.start()]
        if first in b"[{":
            level += 1
            if level > depth:
                raise TooMuch(f"nested deeper than the {depth} levels that a request can have")
        elif first in b"]}":
            level -= 1
