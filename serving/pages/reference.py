"""The API reference at /docs: rendered from the description at /openapi.json, whole on the server, without a script.

Knows OpenAPI and HTML; nothing of the model beyond what the description says.
"""

import json
import shlex
from typing import Any

from serving.pages.markup import Markup, joined, tag
from serving.pages.template import page

Json = dict[str, Any]


def reference(described: Json, *, origin: str) -> str:
    """Return the page. `origin` is where the caller reached the service, for the examples."""
    info = described["info"]
    operations = [(path, method, told) for path, methods in described["paths"].items() for method, told in methods.items()]
    posts, gets = ([each for each in operations if (each[1] == "post") is asked] for asked in (True, False))
    head = tag(
        "header",
        tag("p", "API · version ", tag("code", info["version"]), class_="eyebrow"),
        tag("h1", info["title"]),
        tag("p", info["description"], class_="lede"),
        class_="head",
    )
    entries = [_entry(path, method) for path, method, _ in operations]
    nav = tag("nav", tag("ol", entries, tag("li", tag("a", "Schemas", href="#schemas"))), aria_label="Contents")
    main = tag(
        "main",
        _access(described),
        [_operation(described, *each, origin=origin) for each in posts],
        tag("section", tag("h2", "Everything to read"), [_brief(*each) for each in gets], id="reading"),
        tag("section", tag("h2", "Schemas"), [_schema(name, each) for name, each in _shapes(described)], id="schemas"),
    )
    body = joined(head, nav, main)
    return page(f"API of {info['title']}", body, class_="reference", here="docs")


def _entry(path: str, method: str) -> Markup:
    return tag("li", tag("a", tag("span", method.upper(), class_=f"method {method}"), path, href=f"#{_anchor(path, method)}"))


KEYS = (
    "Every route but health asks for an API key that has the permission named beside the route. Keys come from whoever runs the service. "
    "Where it has no keys yet, it answers its own machine alone, and that without one."
)
FAULTS = (
    "Every answer that is not a success has the same shape: `error` in words, and `detail` with the place of each fault. "
    "What you sent is never repeated. Beside what stands at each route, an unknown path is answered with 404, another method with 405, "
    "headers that are too large with 431, and what is no HTTP with 400."
)


def _access(described: Json) -> Markup:
    schemes = described["components"]["securitySchemes"]
    rows = [tag("tr", tag("th", name, scope="row"), tag("td", _marked(told["description"]))) for name, told in schemes.items()]
    return tag("section", tag("h2", "Access"), tag("p", KEYS), _table(("Scheme", "How"), rows), tag("p", _marked(FAULTS)), id="access")


def _operation(described: Json, path: str, method: str, told: Json, *, origin: str) -> Markup:
    media = told["requestBody"]["content"]["application/json"]
    answers = told["responses"]["200"]["content"]["application/json"]
    replies = answers.get("examples") or {"one": {"value": answers["example"]}}
    pairs = [(example, replies[name]["value"]) for name, example in media["examples"].items()]
    name = media["schema"]["$ref"].rpartition("/")[2]
    return tag(
        "section",
        _title(path, method, told),
        tag("p", _marked(told["description"])),
        tag("h3", "Request"),
        _fields(described["components"]["schemas"][name]),
        [_example(path, method, example, answer, origin) for example, answer in pairs],
        tag("h3", "Answers"),
        _answers(told["responses"]),
        id=_anchor(path, method),
    )


def _title(path: str, method: str, told: Json) -> Markup:
    needs = told.get("x-permission")
    return joined(
        tag("h2", tag("span", method.upper(), class_=f"method {method}"), tag("code", path, class_="path"), class_="route"),
        tag("p", told["summary"], tag("span", f"permission: {needs}" if needs else "no key needed", class_="needs"), class_="summary"),
    )


def _example(path: str, method: str, example: Json, answer: Json, origin: str) -> Markup:
    return tag(
        "figure",
        tag("figcaption", example["summary"]),
        tag("pre", tag("code", _curl(path, example["value"], origin)), class_="ask", tabindex="0"),
        tag("pre", tag("code", _pretty(answer)), class_="answer", tabindex="0"),
        class_="example",
    )


def _curl(path: str, body: Json, origin: str) -> str:
    content = shlex.quote(json.dumps(body, ensure_ascii=False))
    headers = ('-H "Authorization: Bearer $EVERGREEN_KEY"', "-H 'Content-Type: application/json'")
    return " \\\n  ".join([f"curl {origin}{path}", *headers, f"-d {content}"])


def _answers(responses: Json) -> Markup:
    rows = [
        tag(
            "tr",
            tag("th", tag("code", status), scope="row", class_=f"status s{status[0]}"),
            tag("td", _marked(told["description"]), [tag("span", name, class_="header") for name in told.get("headers", ())]),
        )
        for status, told in sorted(responses.items())
    ]
    return _table(("Status", "Meaning"), rows)


def _brief(path: str, method: str, told: Json) -> Markup:
    kinds = {kind for each in told["responses"].values() for kind in each.get("content", ())} - {"application/json"}
    kind = next(iter(kinds), "application/json")
    example = told["responses"]["200"].get("content", {}).get("application/json", {}).get("example")
    return tag(
        "article",
        _title(path, method, told),
        tag("p", _marked(told["description"])) if "description" in told else None,
        tag("p", tag("code", kind), " · ", ", ".join(sorted(told["responses"])), class_="note"),
        tag("details", tag("summary", "What it answers now"), tag("pre", tag("code", _pretty(example)), class_="answer", tabindex="0"))
        if example
        else None,
        id=_anchor(path, method),
    )


def _shapes(described: Json) -> list[tuple[str, Json]]:
    return sorted(described["components"]["schemas"].items())


def _schema(name: str, schema: Json) -> Markup:
    return tag(
        "article", tag("h3", tag("code", name)), tag("p", _marked(schema.get("description", ""))), _fields(schema), id=f"schema-{name}"
    )


def _fields(schema: Json) -> Markup:
    """Return the table of an object's fields. What only one of several forms has is told from that form."""
    forms = schema.get("oneOf", [])
    fields: Json = {}
    for name, field in schema["properties"].items():
        exact = [form["properties"][name] for form in forms if name in form["required"]]
        fields[name] = {**field, **(exact[0] if exact else {})}
    required = set(schema.get("required", ()))
    either = {name for form in forms for name in form["required"]}
    rows = [
        tag(
            "tr",
            tag("th", tag("code", name), scope="row"),
            tag("td", _kind(field)),
            tag("td", "yes" if name in required else "one of the two" if name in either else "no"),
            tag("td", _marked(field.get("description", "")), _bounds(field)),
        )
        for name, field in fields.items()
    ]
    return _table(("Field", "Type", "Required", "What it is"), rows)


def _kind(field: Json) -> Markup:
    """Return a field's type in words."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return tag("a", name, href=f"#schema-{name}")
    if "enum" in field:
        return joined("one of ", [joined(", " if place else "", tag("code", str(value))) for place, value in enumerate(field["enum"])])
    if "anyOf" in field:
        return joined([joined(" or " if place else "", _kind(kind)) for place, kind in enumerate(field["anyOf"])])
    kind = field.get("type", "any")
    if kind == "array":
        return joined("list of ", _kind(field["items"]))
    if kind == "object":
        inner = field.get("additionalProperties") or next(iter(field.get("patternProperties", {}).values()), None)
        return joined("name → ", _kind(inner)) if inner else Markup("object")
    return Markup(kind if isinstance(kind, str) else " or ".join(kind))


def _bounds(field: Json) -> Markup | None:
    """Return a field's limits in words."""
    inner = field.get("items", {})
    told = [
        f"{field['minItems']} to {field['maxItems']} of them" if "maxItems" in field else "",
        *(f"{part['minLength']} to {part['maxLength']:,} characters" for part in (field, inner) if "maxLength" in part),
        f"at most {field['maxProperties']} names" if "maxProperties" in field else "",
    ]
    found = "; ".join(filter(None, told))
    return tag("span", found, class_="bounds") if found else None


def _table(heads: tuple[str, ...], rows: list[Markup]) -> Markup:
    top = tag("thead", tag("tr", [tag("th", head, scope="col") if head else tag("td") for head in heads]))
    return tag(
        "div", tag("table", top, tag("tbody", rows)), class_="scroll", tabindex="0", role="group", aria_label=" ".join(heads).strip()
    )


def _marked(text: str) -> Markup:
    """Return a text with what stands in backticks as code."""
    parts = text.split("`")
    return joined([tag("code", part) if place % 2 else part for place, part in enumerate(parts)])


def _pretty(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False)


def _anchor(path: str, method: str) -> str:
    return f"{method}-{path.strip('/').replace('.', '-') or 'page'}"
