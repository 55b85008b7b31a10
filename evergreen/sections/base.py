"""What the sections of params.yaml share."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Level = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A section of params.yaml: unknown keys are refused, nothing has a default."""

    model_config = ConfigDict(extra="forbid", frozen=True)
