"""The bridge to DVC: which stages there are, which have changed, where their outputs lie, and how one is reproduced.

Knows nothing of Prefect and nothing of what a stage does; dvc.yaml stays the only home of names and paths.
"""

import json
import os
import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo
from networkx import lexicographical_topological_sort

from evergreen.errors import PipelineError
from evergreen.processes import stream

Say = Callable[[str], None]
UNCHANGED = re.compile(r"^Stage '.*' didn't change, skipping")
RESTORED = re.compile(r"^Stage '.*' is cached - skipping run")
CHATTER = re.compile(
    r"^(Running stage '|> |Updating lock file|Generating lock file|To track the changes|\s*git add |To enable auto staging"
    r"|\s*dvc config|Use `dvc push`|Data and pipelines are up to date)"
)


@dataclass(frozen=True)
class Pipeline:
    """What dvc.yaml says: stages in the order they run in, what each waits for, and its outputs by name."""

    order: list[str]
    upstream: dict[str, list[str]]
    outputs: dict[str, dict[str, Path]] = field(default_factory=dict)

    def output(self, stage: str, name: str) -> Path:
        """Return the path of a stage's output by the name dvc.yaml gives it."""
        return self.outputs[stage][name]


def read_pipeline(root: Path) -> Pipeline:
    """Read dvc.yaml; raise PipelineError with DVC's own words when it cannot be read."""
    try:
        with Repo(str(root)) as repo:
            graph = repo.index.graph
            names = {stage: stage.addressing for stage in graph}
            places = {name: place for place, name in enumerate(_declared(root))}
            # dvc's edges run from a stage to what it waits for
            ordered = lexicographical_topological_sort(graph.reverse(), key=lambda stage: places.get(names[stage], len(places)))
            order = [names[stage] for stage in ordered]
            upstream = {names[stage]: sorted(names[other] for other in graph.successors(stage)) for stage in graph}
            outputs = {names[stage]: _outputs(stage.cmd) for stage in graph if stage.cmd}
    except DvcException as fault:
        raise PipelineError(f"DVC cannot read the pipeline in {root}: {fault}") from None
    return Pipeline(order, upstream, outputs)


def _declared(root: Path) -> list[str]:
    """Return the stages as dvc.yaml lists them: the order among stages that do not wait for one another."""
    return re.findall(r"^  (\w+):$", (root / "dvc.yaml").read_text(encoding="utf-8"), flags=re.MULTILINE)


def _outputs(command: str) -> dict[str, Path]:
    words = shlex.split(command)
    if "--out" not in words:
        return {}
    given = words[words.index("--out") + 1 :]
    end = next((place for place, word in enumerate(given) if word.startswith("--")), len(given))
    return {name: Path(path) for name, _, path in (word.partition("=") for word in given[:end])}


def changed(root: Path, stage: str | None = None) -> bool:
    """Say whether a stage (or any stage) would run: its command, parameters, dependencies or outputs have changed."""
    try:
        with Repo(str(root)) as repo:
            return bool(repo.status(targets=[stage] if stage else None))
    except DvcException as fault:
        raise PipelineError(f"DVC cannot compare the pipeline in {root} with dvc.lock: {fault}") from None


def reproduce(root: Path, stage: str, *, say: Say, force: bool = False) -> str:
    """Run one stage through `dvc repro`, its output line by line to `say`; return "ran", "restored" or "unchanged".

    Raises PipelineError with the stage's own words when it fails. A cancelled caller ends the stage with it.
    """
    if not force and not changed(root, stage):
        return "unchanged"
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", *(["--force"] if force else []), stage]
    lines: list[str] = []
    outcome = "ran"
    output = stream(command, _environment(root))
    while True:
        try:
            line = next(output)
        except StopIteration as end:
            status = end.value
            break
        if UNCHANGED.match(line):
            outcome = "unchanged"
        elif RESTORED.match(line):
            outcome = "restored"
        elif line.strip() and not CHATTER.match(line):
            lines.append(line)
            say(line)
    if status:
        raise PipelineError(_own_words(stage, lines, status))
    return outcome


def _environment(root: Path) -> dict[str, str]:
    """Return the environment of a stage: this interpreter's own `python` first, output unbuffered, the project importable."""
    first = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": f"{first}{os.pathsep}{os.environ.get('PATH', '')}", "PYTHONUNBUFFERED": "1", "COLUMNS": "120"}


def _own_words(stage: str, lines: list[str], status: int) -> str:
    """Return what the stage said when it stopped; DVC's remark that it failed adds nothing."""
    kept = [line for line in lines if not line.startswith("ERROR: failed to reproduce")]
    begin = next((place for place, line in enumerate(kept) if line.startswith(f"{stage} stopped:")), max(0, len(kept) - 20))
    said = "\n".join(kept[begin:]).strip()
    return said or f"{stage} ended with status {status} and said nothing"


def heal(root: Path, *, say: Say) -> None:
    """Mend what a power cut can leave behind and DVC stumbles over: an emptied lock table, an emptied dvc.lock."""
    table, lock = root / ".dvc" / "tmp" / "rwlock", root / "dvc.lock"
    if table.is_file() and not _is_json(table):
        table.unlink()
        say(f"removed {table}: a cut-short write had emptied it; no run is at work here")
    if lock.is_file() and not lock.read_bytes().strip(b"\0 \n"):
        lock.unlink()
        say(f"removed {lock}: a cut-short write had emptied it; unchanged stages are restored from DVC's run cache")


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True
