"""Which of our own modules a module needs: read from the import statements, without importing anything."""

import ast
from collections.abc import Iterator
from pathlib import Path


def modules_needed(root: Path, entry: str, packages: tuple[str, ...]) -> dict[str, Path]:
    """Return module name -> file (relative to `root`) of `entry` and of all that it imports from these packages, sorted.

    Imports inside functions count too, and so does the `__init__` of every package on the way.
    """
    found: dict[str, Path] = {}
    waiting = [entry]
    while waiting:
        name = waiting.pop()
        file = _file(root, name)
        if name in found or file is None or name.partition(".")[0] not in packages:
            continue
        found[name] = file
        waiting += [*_parents(name), *_imports((root / file).read_text(encoding="utf-8"))]
    return dict(sorted(found.items()))


def outside_imports(root: Path, files: list[Path], packages: tuple[str, ...]) -> set[str]:
    """Return the top-level names that files import from elsewhere: third parties and the standard library."""
    names = {name.partition(".")[0] for file in files for name in _imports((root / file).read_text(encoding="utf-8"))}
    return names - set(packages)


def _imports(source: str) -> Iterator[str]:
    """Yield every module that a source text may import; of `from a import b` both `a` and `a.b`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _file(root: Path, name: str) -> Path | None:
    path = Path(*name.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if (root / file).is_file():
            return file
    return None
