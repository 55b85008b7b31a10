"""A name that would run on a careless page, and what a browser finds to run on a page."""

from html.parser import HTMLParser

HOSTILE = "</script><!--<script>alert(1)</script>"


class _Scripts(HTMLParser):
    """Counts the elements that run something, and the comments, which hide what follows."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note scripts, and attributes that are scripts."""
        self.found += [tag] if tag in ("script", "iframe", "object", "embed") else []
        self.found += [f"{tag} {name}" for name, _ in attrs if name.startswith("on")]

    def handle_comment(self, data: str) -> None:
        """Note comments."""
        self.found.append("comment")


def scripts(page: str) -> list[str]:
    """Return what runs on a page, in its order."""
    reader = _Scripts()
    reader.feed(page)
    reader.close()
    return reader.found
