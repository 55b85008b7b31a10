"""How figures read in the card and the dossier: one way to write a number, a share, an interval, a size and a duration.

An absent figure is an en dash; nothing is invented in its place.
"""

from collections.abc import Mapping
from typing import Any

ABSENT = "–"
THIN = "\u202f"


def number(value: float | int | None, digits: int = 3) -> str:
    """Return a number with a fixed count of decimals; whole numbers (int) with thousands separators."""
    if value is None:
        return ABSENT
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{digits}f}".replace("-", "−")


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share (0-1) in percent."""
    return ABSENT if value is None else f"{100 * value:.{digits}f}{THIN}%".replace("-", "−")


def span(figure: Mapping[str, Any] | None, digits: int = 3) -> str:
    """Return the interval of an interval object, `low to high`."""
    if not figure or figure.get("low") is None:
        return ABSENT
    return f"{number(float(figure['low']), digits)} to {number(float(figure['high']), digits)}"


def point(figure: Mapping[str, Any] | None, digits: int = 3) -> str:
    """Return the value of an interval object."""
    value = (figure or {}).get("value")
    return ABSENT if value is None else number(float(value), digits)


def both(figure: Mapping[str, Any] | None, digits: int = 3) -> str:
    """Return value and interval, `0.859 (0.824 to 0.893)`."""
    return point(figure, digits) if span(figure) == ABSENT else f"{point(figure, digits)} ({span(figure, digits)})"


def size(count: float | None) -> str:
    """Return bytes in units of 10^3, `91.2 MB`."""
    if count is None:
        return ABSENT
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:,.0f} B" if unit == "B" else f"{count:,.1f} {unit}"


def duration(seconds: float | None) -> str:
    """Return seconds as a person says them, `4 min 20 s`."""
    if seconds is None:
        return ABSENT
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def plain(value: Any) -> str:
    """Return a setting as it would stand in params.yaml."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(plain(item) for item in value) or "[]"
    return str(value)


def without_verdict(verdict: Mapping[str, Any]) -> str:
    """Return the verdict's sentence without the verdict itself in front, for a place that shows it already."""
    sentence = str(verdict["summary"]).removeprefix(f"{verdict['verdict']}: ")
    return sentence[:1].upper() + sentence[1:]
