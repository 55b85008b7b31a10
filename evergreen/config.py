"""params.yaml as a whole: read, checked, every fault named. It is the one source of values.

Knows nothing of where the file lies in the pipeline; `load_params` takes a path.
"""

from pathlib import Path

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from evergreen.errors import ConfigError
from evergreen.sections.base import Section
from evergreen.sections.gate import Gate
from evergreen.sections.loop import Monitor, Notify, Policy, Release, Retrain, Serve
from evergreen.sections.pipeline import (
    Audit,
    Calibrate,
    Challenge,
    Clean,
    Compress,
    Document,
    Evaluate,
    Finetune,
    Ingest,
    Package,
    Snapshot,
    Split,
    Validate,
)

SECRET = {"serve.log.url"}  # may hold what must not be repeated in an error


class Params(Section):
    """The whole of params.yaml."""

    ingest: Ingest
    validate_: Validate = Field(alias="validate")
    clean: Clean
    split: Split
    finetune: Finetune
    compress: Compress
    calibrate: Calibrate
    evaluate: Evaluate
    audit: Audit
    snapshot: Snapshot
    challenge: Challenge
    gate: Gate
    document: Document
    package: Package
    serve: Serve
    monitor: Monitor
    policy: Policy
    retrain: Retrain
    release: Release
    notify: Notify

    @model_validator(mode="after")
    def _goes_on_gently(self) -> "Params":
        if (rate := self.retrain.learning_rate) is not None and rate > self.finetune.learning_rate:
            raise ValueError(
                f"retrain.learning_rate ({rate:g}) is above finetune.learning_rate ({self.finetune.learning_rate:g}), and would shake "
                "weights that are trained already; lower it (two thirds of that one are a good start), or write null for the same"
            )
        return self


def load_params(path: Path) -> Params:
    """Read and check params.yaml.

    Raises ConfigError naming every fault at once, each with its place (`finetune.epochs`) and the value found.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing; run from the project's folder, or restore it with `git checkout {path}`") from None
    return parse_params(content, str(path))


def parse_params(content: bytes, name: str) -> Params:
    """Check the content of params.yaml, of which errors speak as `name`. Raises ConfigError as load_params does."""
    try:
        found = yaml.safe_load(content.decode("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as fault:
        raise ConfigError(f"{name} is not valid YAML: {fault}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{name} holds no sections; restore it with `git checkout params.yaml`")
    try:
        return Params.model_validate(found)
    except ValidationError as fault:
        raise ConfigError(_explain(name, fault)) from None


def _explain(name: str, fault: ValidationError) -> str:
    lines = []
    for error in fault.errors():
        place = ".".join(str(part) for part in error["loc"]) or "(whole file)"
        if error["type"] == "missing":
            lines.append(f"{place} is missing")
        elif error["type"] == "extra_forbidden":
            lines.append(f"{place} is unknown; the choices are {_choices(error['loc'])}")
        else:
            given = "" if place in SECRET or not error["loc"] else f", got {error['input']!r}"
            lines.append(f"{place}: {error['msg']}{given}"[:400])
    head = f"{name} has {len(lines)} fault{'s' if len(lines) > 1 else ''}:"
    return "\n".join([head, *(f"  - {line}" for line in lines)])


def _choices(place: tuple[int | str, ...]) -> str:
    """Return the known keys of the section in which an unknown key stands."""
    section: type[BaseModel] = Params
    for part in place[:-1]:
        fields = {field.alias or name: field for name, field in section.model_fields.items()}
        inner = fields[str(part)].annotation
        options = [inner, *getattr(inner, "__args__", ())]
        section = next(option for option in options if isinstance(option, type) and issubclass(option, BaseModel))
    return ", ".join(field.alias or name for name, field in section.model_fields.items())
