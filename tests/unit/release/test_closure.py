import sys
import tomllib
from pathlib import Path

from evergreen.release.bento import DRIVERS, ENTRIES, PACKAGES, REQUIREMENTS
from evergreen.release.closure import modules_needed, outside_imports

ROOT = Path(__file__).parents[3]


def project(folder: Path, files: dict[str, str]) -> Path:
    for name, source in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(source, encoding="utf-8")
    return folder


def test_every_module_on_the_way_is_found_and_no_other(tmp_path: Path) -> None:
    files = {
        "a/__init__.py": "",
        "a/entry.py": "from b.deep import near, name\ndef f():\n    import b.late\n",
        "b/__init__.py": "",
        "b/deep/__init__.py": "name = 1",
        "b/deep/near.py": "import c.other\n",
        "b/late.py": "",
        "b/unused.py": "",
        "c/other.py": "",
    }
    found = modules_needed(project(tmp_path, files), "a.entry", ("a", "b"))
    assert sorted(found) == ["a", "a.entry", "b", "b.deep", "b.deep.near", "b.late"]


def test_what_ships_needs_only_the_packages_that_the_bento_asks_for() -> None:
    files = [file for entry in ENTRIES for file in modules_needed(ROOT, entry, PACKAGES).values()]
    imported = outside_imports(ROOT, files, PACKAGES) - set(sys.stdlib_module_names)
    assert imported == set(REQUIREMENTS)


def test_serving_needs_no_more_than_the_project_installs_for_it() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    assert {*REQUIREMENTS, *DRIVERS} <= set(declared)
