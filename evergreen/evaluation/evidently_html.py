r"""A report of Evidently as a page on which every value stays a value.

Evidently writes its figures as JSON into a <script> as they are, and a browser ends a script at "</script>" wherever it stands, in
the name of a group as well. Here the figures hold no "<" at all: JSON writes it as well as "\u003c". Knows nothing of what is shown.
"""

import re

from evidently.core.report import Snapshot

from evergreen.errors import EvidenceError

FIGURES = re.compile(r"^ *var \S+ = \{.*\};$", re.MULTILINE)  # JSON has no line breaks
PLACES = 2  # the widgets, and what they fetch when they are opened; both stand above all else that is a script


def html(report: Snapshot) -> str:
    """Return the page, which needs no network; raise EvidenceError where Evidently no longer writes it as we know it."""
    page, found = FIGURES.subn(lambda line: line.group().replace("<", "\\u003c"), report.get_html_str(as_iframe=False), count=PLACES)
    if found != PLACES or not page.partition("<script>")[2].lstrip().startswith("var "):
        raise EvidenceError("Evidently writes its pages in a way that is not known to be safe; install the version in constraints.txt")
    return page
