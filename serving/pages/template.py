"""What the pages share: head, styles, the line of links at the end. They load nothing but their own style and script.

Knows nothing of what stands between.
"""

from serving.pages.markup import Markup, joined, tag

# A leaf, as the tab's icon: in the page itself, because nothing is loaded from elsewhere.
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Cpath fill='%231c6b52' d='M13.5 2C7 2 3 5 3 10c0 1 .2 1.9.5 2.6L2 14.5l.9.8 1.5-1.7C9.500 15.500 14 11 13.500 2z'/%3E%3C/svg%3E"
)
LINKS = {"": "Try it", "card": "Dossier", "docs": "API", "model": "Model (JSON)", "openapi.json": "OpenAPI", "metrics": "Metrics"}


def page(title: str, body: Markup, *, class_: str, here: str, script: str | None = None) -> str:
    """Return a whole page; `here` is its own path, which its links leave out."""
    head = joined(
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("link", rel="icon", href=ICON),
        tag("link", rel="stylesheet", href="page.css"),
        tag("script", src=script, defer=True) if script else None,
    )
    links = [tag("li", tag("a", name, href=path or "./")) for path, name in LINKS.items() if path != here]
    foot = tag("footer", tag("ul", links), class_="foot")
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body class="{class_}"><div class="page">{body}{foot}</div></body></html>\n'
    )
