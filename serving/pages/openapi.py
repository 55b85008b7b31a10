"""The API's own description, OpenAPI 3.1: shapes from `exchange` under the live version's limits, examples from its golden answers.

What an example shows is what the service really answers, but for ids. Knows nothing of who asks.
"""

from typing import Any

from pydantic import BaseModel, Field
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from serving.api.alerts import AlertBody, AlertsTaken, Firing, OnRecord
from serving.api.exchange import Answer, Fault, Feedback, Prediction, Refused, Thanks, request_model
from serving.pages.facts import Facts, privacy, told

Json = dict[str, Any]
REFERENCE = "#/components/schemas/{model}"
ID = "019ab4c2d3e5f60718293a4b5c6d"  # begins the ids of answers in examples

# What each status means here; the words that a route adds stand at the route.
STATUSES = {
    400: "The body is no request, or no text is left once it is cleaned. `detail` names each fault and its place, never what was sent.",
    401: "No API key was sent, or none that is known here.",
    403: "The API key may not do this; or there are no keys yet, and the caller is not on the service's own machine.",
    404: "No answer of this `request_id` is on record here.",
    408: "The body did not arrive in time.",
    413: "The body is larger than any request may be.",
    415: "The body is not plain JSON: send `application/json` in UTF-8, without Content-Encoding.",
    429: "Too fast for this key, or too much for the service as a whole. `Retry-After` says when to come back.",
    500: "An error here, not in the request. It has been logged.",
    503: "No model can answer just now. Come back in a moment.",
    504: "No answer within the time that a request may take.",
}
WAIT = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}
CHALLENGE = {"WWW-Authenticate": {"description": "Bearer and Basic, each in a header of its own.", "schema": {"type": "string"}}}
HEADERS: dict[int, Json] = {401: CHALLENGE, 429: WAIT, 503: WAIT}
READING = (401, 403, 429, 500, 503)
POSTING = (400, 401, 403, 408, 413, 415, 429, 500, 503, 504)


class Readiness(BaseModel):
    """Whether requests should come here, and what is wrong beside that."""

    status: str = Field(description="ready, starting, waiting, draining or closed")
    model_version: str | None = Field(default=None, description="of the version that answers")
    degraded: list[str] = Field(default=[], description="what is wrong although the service answers")


def openapi(facts: Facts) -> Json:
    """Return the description of the API as it is under this version."""
    settings, about = facts.settings, facts.about
    shapes: list[tuple[type[BaseModel], JsonSchemaMode]] = [(request_model(settings.limits), "validation"), (Feedback, "validation")]
    shapes += [(AlertBody, "validation"), (Firing, "validation")]
    shapes += [(shape, "serialization") for shape in (Answer, AlertsTaken, OnRecord, Prediction, Thanks, Refused, Fault, Readiness)]
    _, schemas = models_json_schema(shapes, ref_template=REFERENCE)
    defined = schemas["$defs"]
    _tell_one_of_both(defined["PredictRequest"])
    _tell_how_to_alert(defined["AlertBody"])
    defined["Feedback"]["properties"]["label"] = {"enum": list(about.labels), "description": "the right label"}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": settings.title,
            "version": about.version,
            "description": f"{settings.purpose} This page describes the version that is live now; every example is its own answer.",
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"basic": []}, {}],
        "paths": _paths(facts),
        "components": {"schemas": _untitled(defined), "securitySchemes": SCHEMES},
    }


SCHEMES: Json = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key: `Authorization: Bearer eg_…`"},
    "basic": {"type": "http", "scheme": "basic", "description": "For browsers: any user name, the API key as the password."},
}


def _paths(facts: Facts) -> Json:
    page, any_json = _text("text/html"), {"application/json": {"schema": {"type": "object"}}}
    model = {"application/json": {"schema": {"type": "object"}, "example": told(facts)}}
    return {
        "/predict": {"post": _predict(facts)},
        "/feedback": {"post": _feedback(facts)},
        "/alerts": {"post": _alerts(facts)},
        "/model": {"get": _get("The live version", model, tell="Labels, threshold, limits, figures with intervals, and its origin.")},
        "/card": {"get": _get("The dossier", page, tell="The whole account of the model, as a page that loads nothing else.")},
        "/": {"get": _get("A page to try it", page, tell="Type a message, see the answer and why a person would be asked.")},
        "/docs": {"get": _get("This description as a page", page)},
        "/openapi.json": {"get": _get("This description", any_json)},
        "/metrics": {"get": _get("Metrics for Prometheus", _text("text/plain"), refused=(401, 403, 429, 500))},
        "/livez": {"get": _health("Is the process alive?", {"200": _json("It is.", {"type": "object"}, {"status": "alive"})})},
        "/readyz": {"get": _health("Can it answer?", _ready(facts))},
    }


def _predict(facts: Facts) -> Json:
    limits, about = facts.settings.limits, facts.about
    several = _short(facts)[: min(2, limits.max_texts)]
    asked = {"one": {"text": several[0]["text"]}, "many": {"texts": [example["text"] for example in several], "groups": {"channel": "app"}}}
    answered = {"one": several[:1], "many": several}
    summaries = {"one": "One text", "many": "Several, with a group"}
    return {
        "operationId": "predict",
        "summary": "Classify one text or several",
        "description": (
            f"Up to {limits.max_texts} texts of up to {limits.max_characters:,} characters each, answered in their order "
            f"within {limits.timeout} s. "
            f"`needs_person` is true where the confidence lies below {about.threshold:g}. {privacy(facts)} "
            "What you send in `groups` is recorded beside the answer, so that the model can be compared between groups of people."
        ),
        "x-permission": "predict",
        "requestBody": _body("PredictRequest", {name: {"summary": summaries[name], "value": value} for name, value in asked.items()}),
        "responses": {
            "200": {
                "description": "A prediction for each text.",
                "content": {
                    "application/json": {
                        "schema": {"$ref": REFERENCE.format(model="Answer")},
                        "examples": {
                            name: {
                                "summary": summaries[name],
                                "value": {"predictions": [_prediction(facts, *each) for each in enumerate(rows)]},
                            }
                            for name, rows in answered.items()
                        },
                    }
                },
            },
            **_refusals(POSTING),
        },
    }


def _feedback(facts: Facts) -> Json:
    body = {"request_id": _id(0), "label": _short(facts)[0]["label"]}
    return {
        "operationId": "feedback",
        "summary": "Tell the right label of an answer",
        "description": (
            "At any time after the answer. Sending the same again changes nothing; another label corrects the one before. "
            "Late labels are how the model's quality is watched."
        ),
        "x-permission": "feedback",
        "requestBody": _body("Feedback", {"one": {"summary": "The right label", "value": body}}),
        "responses": {
            "200": _json("It is on record.", {"$ref": REFERENCE.format(model="Thanks")}, {**body, "status": "recorded"}),
            **_refusals((*POSTING, 404)),
        },
    }


def _alerts(facts: Facts) -> Json:
    version, since = facts.about.version, "2026-11-01T08:00:00Z"
    firing = {
        "status": "firing",
        "labels": {"alertname": "TicketsReopened", "model_version": version},
        "annotations": {"summary": "a fifth of the tickets come back from the wrong team"},
        "startsAt": since,
        "fingerprint": "c0ffee0123456789",
    }
    plain = {"key": "INC-4711", "because": "a new product line went on sale", "time": since}
    examples = {"alertmanager": {"summary": "From Alertmanager", "value": {"version": "4", "status": "firing", "alerts": [firing]}}}
    examples["plain"] = {"summary": "In plain words", "value": plain}
    taken = {"alerts": [{"id": "5f0c6a1be0d24c97", "new": True, "state": "open"}]}
    return {
        "operationId": "alerts",
        "summary": "Say that a retraining is wanted",
        "description": (
            "Takes the body of Alertmanager's webhook (point a receiver's `webhook_configs` here), or a single alert in plain words. "
            "It is put on record, and one retraining answers all that are open, within cooldown and budget. "
            "Sending the same again changes nothing; what is resolved is not put on record."
        ),
        "x-permission": "alert",
        "requestBody": _body("AlertBody", examples),
        "responses": {
            "200": {
                "description": "They are on record.",
                "content": {
                    "application/json": {
                        "schema": {"$ref": REFERENCE.format(model="AlertsTaken")},
                        "examples": {name: {"summary": example["summary"], "value": taken} for name, example in examples.items()},
                    }
                },
            },
            **_refusals(POSTING),
        },
    }


def _short(facts: Facts) -> list[Json]:
    """Return the golden examples, those first that read well in a command line."""
    return sorted(facts.examples, key=lambda example: ("'" in example["text"], len(example["text"])))


def _id(place: int) -> str:
    return f"{ID}{place:04x}"


def _prediction(facts: Facts, place: int, example: Json) -> Json:
    confidence = max(example["probabilities"])
    return {
        "request_id": _id(place),
        "label": example["label"],
        "probabilities": dict(zip(facts.about.labels, example["probabilities"], strict=True)),
        "confidence": confidence,
        "needs_person": confidence < facts.about.threshold,
        "model_version": facts.about.version,
    }


def _get(summary: str, content: Json, *, tell: str = "", refused: tuple[int, ...] = READING) -> Json:
    responses = {"200": {"description": "As asked.", "content": content}, **_refusals(refused)}
    return {"summary": summary, **({"description": tell} if tell else {}), "x-permission": "read", "responses": responses}


def _health(summary: str, responses: Json) -> Json:
    return {"summary": summary, "description": "For anyone, and quick however busy the service is.", "security": [], "responses": responses}


def _ready(facts: Facts) -> Json:
    shape = {"$ref": REFERENCE.format(model="Readiness")}
    ready = {"status": "ready", "model_version": facts.about.version, "degraded": []}
    return {
        "200": _json("It can.", shape, ready),
        "503": _json("Not now: it starts, drains, or its keys cannot be read.", shape, {"status": "starting"}),
    }


def _refusals(statuses: tuple[int, ...]) -> Json:
    shape = {"application/json": {"schema": {"$ref": REFERENCE.format(model="Refused")}}}
    return {
        str(status): {
            "description": STATUSES[status],
            "content": shape,
            **({"headers": HEADERS[status]} if status in HEADERS else {}),
        }
        for status in sorted(statuses)
    }


def _body(model: str, examples: Json) -> Json:
    return {"required": True, "content": {"application/json": {"schema": {"$ref": REFERENCE.format(model=model)}, "examples": examples}}}


def _json(description: str, schema: Json, example: Json) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema, "example": example}}}


def _text(kind: str) -> Json:
    return {kind: {"schema": {"type": "string"}}}


def _tell_one_of_both(schema: Json) -> None:
    """Put into JSON Schema what the model's validator checks: one of `text` and `texts`, and no text of white space alone."""
    fields = schema["properties"]
    text, texts = (next(kind for kind in fields[name]["anyOf"] if kind["type"] != "null") for name in ("text", "texts"))
    for kind in (text, texts["items"]):
        kind["pattern"] = r"\S"
    told = {name: {"description": fields[name]["description"]} for name in ("text", "texts")}
    fields["text"], fields["texts"] = {**told["text"], "type": ["string", "null"]}, {**told["texts"], "type": ["array", "null"]}
    fields["groups"].pop("default", None)
    fields["groups"]["additionalProperties"] = False
    schema["oneOf"] = [
        {"title": "one", "required": ["text"], "properties": {"text": text, "texts": {"type": "null"}}},
        {"title": "many", "required": ["texts"], "properties": {"texts": texts, "text": {"type": "null"}}},
    ]


def _tell_how_to_alert(schema: Json) -> None:
    """Put into JSON Schema what the model's validator checks: `alerts`, or `key` and `because`."""
    fields, null = schema["properties"], {"type": "null"}
    given = {name: next(kind for kind in fields[name]["anyOf"] if kind.get("type") != "null") for name in ("alerts", "key", "because")}
    schema["oneOf"] = [
        {"title": "alertmanager", "required": ["alerts"], "properties": {"alerts": given["alerts"], "key": null, "because": null}},
        {
            "title": "plain",
            "required": ["key", "because"],
            "properties": {"key": given["key"], "because": given["because"], "alerts": null},
        },
    ]


def _untitled(schema: Any) -> Any:
    """Return a schema without the titles that repeat each field's name."""
    if isinstance(schema, list):
        return [_untitled(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _untitled(value) for key, value in schema.items() if not (key == "title" and isinstance(value, str) and "type" in schema)}
