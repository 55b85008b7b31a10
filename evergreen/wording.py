"""Words of messages that depend on a number."""


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it needs one: `1 row`, `1,200 rows`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
