"""HTML from nested calls, every text escaped: `tag("p", "1 < 2", id="a")` is `<p id="a">1 &lt; 2</p>`.

Knows nothing of what the pages say.
"""

from html import escape

VOID = frozenset(("meta", "link", "br", "wbr"))


class Markup(str):
    """Text that is HTML already; any other text is escaped."""

    __slots__ = ()


def tag(name: str, /, *parts: object, **attributes: str | bool | None) -> Markup:
    """Return an element. `class_` and `for_` lose their underscore, others become dashes; True stands for the bare name."""
    given = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    told = "".join(f" {key}" if value is True else f' {key}="{escape(str(value))}"' for key, value in given if value not in (None, False))
    return Markup(f"<{name}{told}>" if name in VOID else f"<{name}{told}>{joined(*parts)}</{name}>")


def joined(*parts: object) -> Markup:
    """Return parts one after the other; lists are laid flat, None is nothing."""
    return Markup("".join(_html(part) for part in parts))


def _html(part: object) -> str:
    if part is None:
        return ""
    if isinstance(part, Markup):
        return part
    if isinstance(part, list | tuple):
        return joined(*part)
    return escape(str(part))
