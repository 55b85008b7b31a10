"""Edits of params.yaml that keep its comments, its order and everything that was not asked to change."""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from evergreen.config import load_params

LINE_WIDTH = 4096  # characters; never folds a line


class _Representer(RoundTripRepresenter):
    """Writes null as `null`, as params.yaml does; an empty value looks forgotten."""


_Representer.add_representer(type(None), lambda self, _: self.represent_scalar("tag:yaml.org,2002:null", "null"))


def edit_params(path: Path, changes: Mapping[str, Any]) -> None:
    """Set values of a params.yaml: `changes` maps dotted places (`ingest.columns.text`) to values.

    The new file is written beside, checked against the schema, and renamed; on any error the old one is untouched.
    Raises ConfigError when the file is missing or would not be valid.
    """
    load_params(path)
    text = edited(path.read_text(encoding="utf-8"), changes)
    beside = path.with_name(f".{path.name}.partial")
    try:
        beside.write_text(text, encoding="utf-8")
        load_params(beside)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def edited(text: str, changes: Mapping[str, Any]) -> str:
    """Return the text of a YAML file with values set; a place must exist, except for its last name."""
    editor = YAML()
    editor.Representer = _Representer
    editor.preserve_quotes = True
    editor.width = LINE_WIDTH
    content = editor.load(text)
    for place, value in changes.items():
        *sections, name = place.split(".")
        section = content
        for part in sections:
            section = section[part]
        section[name] = _node(value)
    stream = io.StringIO()
    editor.dump(content, stream)
    return stream.getvalue()


def _node(value: Any) -> Any:
    """Return a value as YAML writes it in params.yaml: lists and maps on one line, text quoted where it would read as another type."""
    if isinstance(value, BaseModel):
        value = value.model_dump()
    if isinstance(value, Mapping):
        node = CommentedMap({name: _node(item) for name, item in value.items()})
        node.fa.set_flow_style()
        return node
    if isinstance(value, list):
        items = CommentedSeq([_node(item) for item in value])
        items.fa.set_flow_style()
        return items
    if isinstance(value, str) and not _plain(value):
        return DoubleQuotedScalarString(value)
    return value


def _plain(text: str) -> bool:
    """Return whether text without quotes is read back as itself, also inside a list."""
    try:
        return bool(yaml.safe_load(f"[{text}]") == [text])
    except yaml.YAMLError:
        return False
