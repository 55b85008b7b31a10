"""The README's captioned tree is true."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("flows", "stages", "evergreen", "serving")


def captioned() -> set[str]:
    """Return the paths of the README's tree, rebuilt from its indentation."""
    block = (ROOT / "README.md").read_text(encoding="utf-8").split("## The tree")[1].split("```")[1]
    paths, folders = set(), []
    for line in filter(str.strip, block.splitlines()):
        depth, name = (len(line) - len(line.lstrip())) // 2, line.split()[0]
        folders = [*folders[:depth], name.rstrip("/")]
        paths.add("/".join(folders))
        assert re.search(r"\s{2,}\S", line.strip()) or name.endswith("/"), f"{name} has no caption"
    return paths


def test_the_tree_names_every_module_and_nothing_else() -> None:
    modules = {path.relative_to(ROOT).as_posix() for room in ROOMS for path in (ROOT / room).rglob("*.py") if path.name != "__init__.py"}
    named = {path for path in captioned() if path.split("/")[0] in ROOMS and path.endswith(".py")}
    assert named == modules


def test_every_path_of_the_tree_exists() -> None:
    assert [path for path in captioned() if not (ROOT / path).exists()] == []


def test_an_installation_has_every_package() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    there = {path.parent.relative_to(ROOT).as_posix().replace("/", ".") for room in ROOMS for path in (ROOT / room).rglob("__init__.py")}
    assert set(listed) == there


def test_no_figure_is_left_to_fill_in() -> None:
    assert re.findall(r"@[A-Z]+@", (ROOT / "README.md").read_text(encoding="utf-8")) == []
