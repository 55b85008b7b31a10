"""What a version says of itself: the documents of its Bento, read once for as long as it is live.

Knows nothing of HTTP.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from serving.model.backend import About, Model
from serving.settings import DOSSIER, GOLDEN, METRICS, PROVENANCE, SETTINGS, Settings


@dataclass(frozen=True, eq=False)
class Facts:
    """Settings, golden examples, figures and origin of a version; `dossier` is a page in HTML. The same object while it is live."""

    about: About
    settings: Settings
    examples: list[dict[str, Any]]
    metrics: dict[str, Any]
    provenance: dict[str, Any]
    dossier: str


MASKED = {"email": "e-mail addresses", "phone": "phone numbers", "card": "card numbers", "iban": "IBANs", "account": "account numbers"}


def privacy(facts: Facts) -> str:
    """Return a sentence on what of a message is masked before it is kept: just what this version masks, no more."""
    kinds = [MASKED.get(kind, kind) for kind in facts.settings.cleaning.mask]
    if not kinds:
        return "Nothing is masked in a message before it is kept."
    listed = ", ".join(kinds[:-1]) + (" and " if kinds[1:] else "") + kinds[-1]
    return f"Before a message is kept, {listed} are masked; names and postal addresses are not."


def facts_of(model: Model) -> Facts:
    """Return the facts of a model. Raises NotReady while it does not know what it is."""
    return _read(model.root, model.about)


@lru_cache(maxsize=4)
def _read(root: Path, about: About) -> Facts:
    golden, metrics, provenance = (json.loads((root / name).read_text(encoding="utf-8")) for name in (GOLDEN, METRICS, PROVENANCE))
    dossier = (root / DOSSIER).read_text(encoding="utf-8")
    return Facts(about, Settings.load(root / SETTINGS), golden["examples"], metrics, provenance, dossier)


def told(facts: Facts) -> dict[str, Any]:
    """Return what GET /model tells. The parameters of the run stand in the dossier, for those who look deeper."""
    settings, about = facts.settings, facts.about
    return {
        "name": settings.name,
        "title": settings.title,
        "purpose": settings.purpose,
        "not_for": settings.not_for,
        "version": about.version,
        "labels": list(about.labels),
        "threshold": about.threshold,
        "verdict": settings.verdict,
        "limits": settings.limits.model_dump(),
        "metrics": facts.metrics,
        "provenance": {name: part for name, part in facts.provenance.items() if name != "params"},
    }
