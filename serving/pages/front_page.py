"""The page at /, where a person types a message and sees the answer: what the script in pages/page.js fills in.

Knows the live version's facts; asks no model itself.
"""

from typing import Any

from serving.pages.facts import Facts, privacy
from serving.pages.markup import Markup, joined, tag
from serving.pages.template import page

SAMPLES = 4
SHOWN = 140  # characters of a sample message


def front_page(facts: Facts) -> str:
    """Return the page for this version."""
    settings = facts.settings
    head = tag(
        "header",
        tag(
            "p",
            tag("span", settings.name, " · version ", tag("code", facts.about.version, id="live")),
            _chip(settings.verdict),
            class_="eyebrow",
        ),
        tag("h1", settings.title),
        tag("p", settings.purpose, class_="lede"),
        tag("p", settings.not_for, class_="note"),
        class_="head",
    )
    main = tag("main", _ask(facts), _said(), class_="desk")
    without = tag(
        "noscript",
        tag("p", "This page needs its own script to ask the model. The API works without: see ", tag("a", "the reference", href="docs")),
    )
    return page(settings.title, joined(head, without, main), class_="front", here="", script="page.js")


def _chip(verdict: str) -> Markup:
    return tag(
        "span",
        f"gate: {verdict}",
        class_=f"chip {verdict}",
        title="what the release rules say of this version; the dossier has each of them",
    )


def _ask(facts: Facts) -> Markup:
    most = facts.settings.limits.max_characters
    hint = f"Up to {most:,} characters. {privacy(facts)}"
    form = tag(
        "form",
        tag("label", "A message", for_="text"),
        tag("textarea", id="text", name="text", rows="7", maxlength=str(most), required=True, autocomplete="off", aria_describedby="hint"),
        tag("p", hint, id="hint", class_="note"),
        tag("div", tag("button", "Ask the model", type="submit", id="go"), tag("kbd", "Ctrl ↵"), class_="row"),
        tag("p", id="trouble", class_="trouble", role="alert", hidden=True),
        id="ask",
    )
    samples = tag(
        "section",
        tag("h2", "Or one that it was tested with", id="samples"),
        tag("ul", [tag("li", _sample(example)) for example in _mixed(facts.examples)], aria_labelledby="samples"),
        class_="samples",
        aria_labelledby="samples",
    )
    return joined(tag("section", form, class_="asking", aria_label="Ask"), samples)


def _mixed(examples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a few examples, half of them the least sure ones: those show why a person is asked."""
    ordered = sorted(examples, key=lambda example: max(example["probabilities"]))
    unsure = ordered[: SAMPLES // 2]
    return [example for pair in zip(ordered[::-1], unsure, strict=False) for example in pair] if len(ordered) >= SAMPLES else ordered


def _sample(example: dict[str, Any]) -> Markup:
    text = example["text"]
    shown = text if len(text) <= SHOWN else f"{text[: SHOWN - 1].rstrip()}…"
    return tag("button", shown, type="button", class_="sample", data_text=text)


def _said() -> Markup:
    """Return the answer's place: empty at first, then filled in by the script."""
    answer = tag(
        "div",
        tag(
            "div",
            tag("p", "The answer", class_="eyebrow"),
            tag("p", id="label", class_="label"),
            tag("p", id="decision", class_="decision"),
            id="verdict",
            class_="verdict",
        ),
        tag("h2", "Why", id="why-head"),
        tag("p", id="why"),
        tag("h2", "How sure it is of each label", id="bars-head"),
        tag("ol", id="bars", class_="bars", aria_labelledby="bars-head"),
        tag("p", tag("button", id="more", type="button", class_="quiet", hidden=True)),
        tag("dl", id="facts", class_="facts"),
        _tell(),
        id="answer",
        hidden=True,
    )
    empty = tag(
        "p",
        "Its answer appears here: the label, how sure the model is, and whether a person should read the message.",
        id="empty",
        class_="empty",
    )
    return tag("section", tag("p", id="spoken", class_="spoken", role="status"), empty, answer, class_="said", aria_label="Answer")


def _tell() -> Markup:
    return tag(
        "form",
        tag("h2", "Was it right?"),
        tag(
            "div",
            tag("label", "The right label", for_="right"),
            tag("select", id="right", name="label"),
            tag("button", "Send it back", type="submit", class_="second", id="send"),
            class_="row",
        ),
        tag("p", id="thanks", class_="note", role="status"),
        id="tell",
        class_="tell",
    )
