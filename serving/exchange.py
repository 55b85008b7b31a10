"""What goes over the wire: the shape of a request, under the Bento's limits, and the shape of an answer.

Knows nothing of BentoML or of the model. Inputs never stand in an error message: messages of customers must not reach a log.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator

from serving.settings import Limits

# Where pydantic's own words would leave a caller guessing.
WORDS = {"extra_forbidden": "an unknown key; a request holds text (one) or texts (a list), and nothing else"}


class Body(BaseModel):
    """The body of a request: either `texts`, a list, or `text`, a single one. Use `request_model` for one with limits."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    texts: list[str] | None = None
    text: str | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "Body":
        if (self.texts is None) == (self.text is None):
            raise ValueError('give either "texts" (a list) or "text" (a single one)')
        if any(not text.strip() for text in self.asked):
            raise ValueError("a text is empty or only white space")
        return self

    @property
    def asked(self) -> list[str]:
        """The texts to answer, in their order."""
        return [self.text] if self.text is not None else list(self.texts or [])


def request_model(limits: Limits) -> type[Body]:
    """Return the model of a request with these limits in its fields, so that the API's own description shows them."""
    text = Annotated[str, Field(min_length=1, max_length=limits.max_characters)]
    texts = Annotated[list[text], Field(min_length=1, max_length=limits.max_texts)]  # type: ignore[valid-type]
    return create_model(
        "PredictRequest",
        __base__=Body,
        texts=(texts | None, Field(default=None, description="texts to classify, answered in their order")),
        text=(text | None, Field(default=None, description="a single text to classify")),
    )


class Prediction(BaseModel):
    """What the model says of one text; `for_a_person` when its confidence lies below the threshold."""

    model_config = ConfigDict(protected_namespaces=())

    label: str
    probabilities: dict[str, float]
    confidence: float
    for_a_person: bool
    model_version: str


class Answer(BaseModel):
    """One prediction for each text asked, in their order."""

    predictions: list[Prediction]


def answer(probabilities: NDArray[np.float64], *, labels: Sequence[str], threshold: float, version: str) -> Answer:
    """Turn calibrated probabilities, shape (texts, labels), into an answer."""
    return Answer(predictions=[_prediction(row, labels, threshold, version) for row in probabilities])


def _prediction(row: NDArray[np.float64], labels: Sequence[str], threshold: float, version: str) -> Prediction:
    best = int(row.argmax())
    confidence = float(row[best])
    return Prediction(
        label=labels[best],
        probabilities=dict(zip(labels, row.tolist(), strict=True)),
        confidence=confidence,
        for_a_person=confidence < threshold,
        model_version=version,
    )


def refusal(message: str) -> dict[str, Any]:
    """Return the body of an error: `error` in words, `detail` with each fault's place."""
    return {"error": message, "detail": [{"where": "", "what": message}]}


def faults(error: ValidationError) -> dict[str, Any]:
    """Return the body of an error for a request that breaks its model: every fault with its place, never the input."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    detail = [
        {"where": _place(fault["loc"]), "what": WORDS.get(fault["type"], fault["msg"].removeprefix("Value error, "))} for fault in found
    ]
    return {"error": "; ".join(f"{fault['where']}: {fault['what']}".removeprefix(": ") for fault in detail[:3]), "detail": detail}


def _place(location: tuple[int | str, ...]) -> str:
    """Return a place as one would write it: ("texts", 0) is texts[0]. Names that no request has are not repeated."""
    first, *rest = location or ("",)
    name = str(first) if first in Body.model_fields else ""
    return name + "".join(f"[{part}]" for part in rest)
