"""What goes over the wire: the shapes of requests, under the Bento's limits, and of answers.

Knows nothing of HTTP or of the model. Inputs never stand in an error message: messages of customers must not reach a log.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator

from evergreen.monitoring.log.records import ID_PATTERN
from serving.settings import Limits

MAX_GROUPS = 16
MAX_LABEL = 200  # characters of a label in feedback
GroupName = Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,39}$")]
GroupValue = Annotated[str, Field(min_length=1, max_length=64)]
Groups = Annotated[dict[GroupName, GroupValue], Field(max_length=MAX_GROUPS)]

# Where pydantic's own words would leave a caller guessing.
WORDS = {"extra_forbidden": "an unknown key; the choices are {choices}"}


class Request(BaseModel):
    """What every request is: strict in its types, without unknown keys, never repeated in an error."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class Body(Request):
    """The body of /predict: either `texts`, a list, or `text`, a single one. Use `request_model` for one with limits."""

    texts: list[str] | None = None
    text: str | None = None
    groups: Groups = Field(default_factory=dict)

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
    texts = Annotated[list[text], Field(min_length=1, max_length=limits.max_texts)]
    about_groups = "what is known of the sender, for later comparison between groups: names and values, never a person's name or number"
    return create_model(
        "PredictRequest",
        __base__=Body,
        texts=(texts | None, Field(default=None, description="texts to classify, answered in their order")),
        text=(text | None, Field(default=None, description="a single text to classify")),
        groups=(Groups, Field(default_factory=dict, description=about_groups)),
    )


class Feedback(Request):
    """The body of /feedback: the right label of a text that was answered before."""

    request_id: Annotated[str, Field(pattern=ID_PATTERN, description="as the answer gave it")]
    label: Annotated[str, Field(min_length=1, max_length=MAX_LABEL, description="one of the model's labels")]


class Prediction(BaseModel):
    """What the model says of one text; `needs_person` when its confidence lies below the threshold."""

    model_config = ConfigDict(protected_namespaces=())

    request_id: Annotated[str, Field(pattern=ID_PATTERN)]
    label: str
    probabilities: dict[str, float]
    confidence: float
    needs_person: bool
    model_version: str


class Answer(BaseModel):
    """One prediction for each text asked, in their order."""

    predictions: list[Prediction]


class Thanks(BaseModel):
    """The answer to feedback. Sending the same again changes nothing; another label corrects the one before."""

    request_id: str
    label: str
    status: Literal["recorded", "already recorded", "corrected"]


class Fault(BaseModel):
    """One thing that is wrong with a request, and where."""

    where: str
    what: str


class Refused(BaseModel):
    """Every answer that is not a success."""

    error: str
    detail: list[Fault]


def refusal(message: str) -> dict[str, Any]:
    """Return the body of an error: `error` in words, `detail` with each fault's place."""
    return {"error": message, "detail": [{"where": "", "what": message}]}


def faults(error: ValidationError, model: type[BaseModel]) -> dict[str, Any]:
    """Return the body of an error for a request that breaks its model: every fault with its place, never the input."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    choices = ", ".join(model.model_fields)
    detail = [
        {
            "where": _place(fault["loc"], model),
            "what": WORDS.get(fault["type"], "").format(choices=choices) or fault["msg"].removeprefix("Value error, "),
        }
        for fault in found
    ]
    return {"error": "; ".join(f"{fault['where']}: {fault['what']}".removeprefix(": ") for fault in detail[:3]), "detail": detail}


def _place(location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    """Return a place as one would write it: ("texts", 0) is texts[0]. Names that a caller chose are not repeated."""
    first, *rest = location or ("",)
    name = str(first) if first in model.model_fields else ""
    return name + "".join(f"[{part}]" for part in rest if isinstance(part, int))
