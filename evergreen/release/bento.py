"""The Bento: a folder that `bentoml serve` answers requests from, with the model, its card and its dossier inside.

BentoML builds it in a process of its own, from a build context that holds copies of just what serving needs: nothing is taken
from the working tree by accident, nothing is asked of the network, and the same contents give the same bytes.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from evergreen.errors import PipelineError
from evergreen.release.closure import modules_needed
from evergreen.release.dependencies import pins_for
from evergreen.release.manifest import write_manifest
from evergreen.reports import write_report

# What is started in a Bento: BentoML's service, and everything that runs by itself. Each ships with all that it imports.
ENTRIES = ("serving.service", "serving.model.worker")
PACKAGES = ("serving", "evergreen")
STATIC = Path("serving/pages/static")
# What the shipped modules import directly. BentoML adds a line for itself, with the version that builds.
REQUIREMENTS = ("bentoml", "numpy", "onnxruntime", "prometheus_client", "pydantic", "sqlalchemy", "starlette", "tokenizers")
# What a URL of the request log calls for, by name: no module imports it.
DRIVERS = ("psycopg[binary]",)
# Nothing is told to anybody, and nothing fetched: where uv is missing, BentoML would install it by pip in the middle of a build.
QUIET = {"BENTOML_DO_NOT_TRACK": "True", "DO_NOT_TRACK": "1", "PIP_NO_INDEX": "1", "UV_OFFLINE": "1"}
# BentoML stamps the hour of the build; a fixed one lets equal contents give equal bytes.
CREATED = "1980-01-01T00:00:00+00:00"


@dataclass(frozen=True)
class Contents:
    """What goes into a Bento: files and reports by their name inside it, the settings of the service, and the pins."""

    name: str
    version: str
    files: dict[str, Path]
    reports: dict[str, dict[str, Any]]
    settings: dict[str, Any]
    constraints: str


def build_bento(contents: Contents, *, root: Path, bench: Path, target: Path) -> None:
    """Build the Bento and move it to `target`, a folder that must not exist yet.

    `root` is the folder with the packages `serving` and `evergreen`. Everything is made in `bench`, a folder for
    this alone: what it holds is removed before and after. A person's own store of Bentos is never touched.
    Raises PipelineError with BentoML's own words when the build fails.
    """
    context, state = bench / "context", bench / "bentoml"
    shutil.rmtree(bench, ignore_errors=True)  # what a killed build left
    try:
        lay_out(contents, root=root, context=context)
        _run_build(context, contents, state)
        built = state / "bentos" / contents.name / contents.version
        _fix_time(built / "bento.yaml")
        write_manifest(built, name=contents.name, version=contents.version)
        shutil.move(built, target)
    finally:
        shutil.rmtree(bench, ignore_errors=True)


def lay_out(contents: Contents, *, root: Path, context: Path) -> None:
    """Write the build context: code, model, documents, settings and BentoML's own instructions."""
    for file in _code(root):
        (context / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / file, context / file)
    for name, source in contents.files.items():
        copy = shutil.copytree if source.is_dir() else shutil.copyfile
        copy(source, context / name)
    for name, report in {**contents.reports, "service.json": contents.settings}.items():
        write_report(report, context / name)
    (context / "bentofile.yaml").write_text(yaml.safe_dump(_instructions(contents), sort_keys=False, allow_unicode=True), encoding="utf-8")


def _code(root: Path) -> list[Path]:
    """Return the files of the service: every module that its entries need, and the pages that one of them reads."""
    modules: dict[str, Path] = {}
    for entry in ENTRIES:
        modules |= modules_needed(root, entry, PACKAGES)
        if entry not in modules:
            raise PipelineError(f"there is no module {entry} in {root}; run from the project's folder")
    return [*dict(sorted(modules.items())).values(), *(file.relative_to(root) for file in sorted((root / STATIC).iterdir()))]


def _instructions(contents: Contents) -> dict[str, Any]:
    pins = [pin for pin in pins_for((*REQUIREMENTS, *DRIVERS), contents.constraints) if not pin.startswith("bentoml==")]
    return {
        "service": f"{ENTRIES[0]}:Service",
        "name": contents.name,
        "description": f"# {contents.settings['title']}\n\nServe with `bentoml serve` from this folder; see src/MODEL_CARD.md.\n",
        "labels": {"verdict": contents.settings["verdict"]},
        "include": ["**"],
        "envs": [{"name": "BENTOML_DO_NOT_TRACK", "value": "True"}],
        "python": {"packages": pins, "lock_packages": False},
    }


def _run_build(context: Path, contents: Contents, state: Path) -> None:
    state.mkdir()
    # The instructions are named because BentoML looks for none by itself below a hidden folder, such as .evergreen.
    instructions = ["--bentofile", "bentofile.yaml", "--version", contents.version]
    command = [sys.executable, "-m", "bentoml", "build", ".", *instructions, "--output", "tag"]
    # Neither the caller's path nor its byte code: the context must stand on its own, and hold nothing but what was laid out.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment = inherited | QUIET | {"BENTOML_HOME": str(state.resolve()), "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run(command, cwd=context, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        said = (ended.stderr.strip() or ended.stdout.strip())[-2000:]
        raise PipelineError(f"BentoML could not build the Bento; it said:\n{said}")


def _fix_time(description: Path) -> None:
    content = yaml.safe_load(description.read_text(encoding="utf-8"))
    content["creation_time"] = CREATED
    description.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
