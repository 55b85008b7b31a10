"""dvc.yaml is wired as the code is written: DVC sees every module that a stage runs, and every file it reads or writes."""

import ast
import shlex
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
import yaml
from dvc_data.hashfile.meta import Meta
from pydantic import BaseModel

from evergreen.config import Params
from evergreen.release.bento import ENTRIES

ROOT = Path(__file__).parents[2]
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
STAGES = PIPELINE["stages"]
SHIPS = {
    "package": [f"{entry.replace('.', '/')}.py" for entry in ENTRIES]
}  # code that a stage does not run but copies into its output, imports included


def module_file(name: str) -> Path | None:
    path = ROOT / name.replace(".", "/")
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def imported(file: Path) -> frozenset[Path]:
    """Return the project's own modules that a file imports anywhere in it, one step deep."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    own = {name for name in names if name.split(".")[0] in {"evergreen", "stages", "serving"}}
    return frozenset(path for path in (module_file(name) for name in own) if path)


def closure(file: Path) -> set[Path]:
    """Return every module of the project that a runner needs, itself included; packages' empty __init__ files left out."""
    found, waiting = set(), [file]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += imported(path)
    return {path for path in found if path.name != "__init__.py"}


def declared(stage: dict, key: str) -> set[str]:
    items = [next(iter(item)) if isinstance(item, dict) else item for item in stage.get(key, [])]
    return {resolve(item) for item in items}


def resolve(text: str) -> str:
    for name, value in PIPELINE["vars"][0].items():
        text = text.replace(f"${{{name}}}", value)
    return text


def given(stage: dict, flag: str) -> set[str]:
    """Return the paths that a stage's command names after a flag."""
    words = shlex.split(resolve(stage["cmd"]))
    paths, taking = set(), False
    for word in words:
        if word.startswith("--"):
            taking = word == flag
        elif taking:
            paths.add(word.partition("=")[2] or word)
    return paths


@pytest.mark.parametrize("name", STAGES)
def test_dvc_sees_every_module_that_a_stage_imports(name: str) -> None:
    entries = [f"stages/{name}.py", *SHIPS.get(name, [])]
    needed = {path.relative_to(ROOT).as_posix() for entry in entries for path in closure(ROOT / entry)}
    listed = {dep for dep in declared(STAGES[name], "deps") if dep.endswith(".py")}
    assert listed == needed, f"in dvc.yaml, the deps of {name} lack {sorted(needed - listed)} and need not list {sorted(listed - needed)}"


@pytest.mark.parametrize("name", STAGES)
def test_every_path_of_a_command_is_a_dep_or_an_output(name: str) -> None:
    stage = STAGES[name]
    outs = declared(stage, "outs") | declared(stage, "metrics") | declared(stage, "plots")
    assert given(stage, "--in") <= declared(stage, "deps")
    assert given(stage, "--out") | given(stage, "--record") == outs


@pytest.mark.parametrize("name", STAGES)
def test_every_section_that_a_stage_reads_is_a_param_of_it(name: str) -> None:
    sections = {field.alias or key: key for key, field in Params.model_fields.items()}
    tree = ast.parse((ROOT / "stages" / f"{name}.py").read_text(encoding="utf-8"))
    read = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "params"
    }
    whole_file = any(isinstance(param, dict) for param in STAGES[name]["params"])
    listed = {param.split(".")[0] for param in STAGES[name]["params"] if isinstance(param, str)}
    wanted = {alias for alias, key in sections.items() if key in read}
    assert whole_file or wanted <= listed, f"in dvc.yaml, the params of {name} lack {sorted(wanted - listed)}"


def test_numbers_depend_on_the_locked_dependencies() -> None:
    numeric = {"finetune", "compress", "calibrate", "evaluate", "audit", "snapshot"}
    assert all("constraints.txt" in declared(STAGES[name], "deps") for name in numeric)


def names(model: type[BaseModel]) -> set[str]:
    """Return every key that a section of params.yaml may hold, at any depth."""
    found = set()
    for key, field in model.model_fields.items():
        found.add(field.alias or key)
        inner = [field.annotation, *get_args(field.annotation)]
        for kind in inner:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                found |= names(kind)
    return found


def test_no_knob_has_a_name_that_dvcs_run_cache_overlooks() -> None:
    """DVC leaves keys of these names out of the run cache's key, at any depth: an edit would bring the old result back."""
    known = names(Params)
    assert "max_megabytes" in known
    assert known & {Meta.PARAM_SIZE, Meta.PARAM_NFILES} == set()
