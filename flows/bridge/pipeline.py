"""The bridge to DVC: which stages there are, which have changed, where their outputs lie, and how one is reproduced.

Knows nothing of Prefect and nothing of what a stage does; dvc.yaml stays the only home of names and paths.
"""

import os
import re
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path

from dvc.dvcfile import load_file
from dvc.exceptions import DvcException
from dvc.repo import Repo
from networkx import lexicographical_topological_sort

from evergreen.disk import full_words, says_full
from evergreen.errors import PipelineError
from evergreen.release.plumbing import inherited
from flows import WORKTREES
from flows.bridge.integrity import Say, drop_damaged_lists, mend
from flows.bridge.objects import outputs_of
from flows.bridge.session import dvc, in_session

UNCHANGED = re.compile(r"^Stage '.*' didn't change, skipping")
RESTORED = re.compile(r"^Stage '.*' is cached - skipping run")
CHATTER = re.compile(
    r"^(Running stage '|> |Updating lock file|Generating lock file|To track the changes|\s*git add |To enable auto staging"
    r"|\s*dvc config|Use `dvc push`|Data and pipelines are up to date)"
)


@dataclass(frozen=True)
class Pipeline:
    """What dvc.yaml says: stages in the order they run in, their outputs by name, and the record that each keeps of its run."""

    order: list[str]
    outputs: dict[str, dict[str, Path]] = field(default_factory=dict)
    records: dict[str, Path] = field(default_factory=dict)

    def output(self, stage: str, name: str) -> Path:
        """Return the path of a stage's output by the name dvc.yaml gives it."""
        return self.outputs[stage][name]


def read_pipeline(root: Path) -> Pipeline:
    """Read dvc.yaml; raise PipelineError with DVC's own words when it cannot be read."""
    if not (root / "dvc.yaml").is_file():
        raise PipelineError(f"there is no dvc.yaml in {root}; run this in the project's own folder")
    try:
        with Repo(str(root)) as repo:
            graph = repo.index.graph
            # not `addressing`, which is written as seen from the current folder
            names = {stage: getattr(stage, "name", None) or stage.path_in_repo for stage in graph}
            places = {name: place for place, name in enumerate(_declared(root))}
            # dvc's edges run from a stage to what it waits for; data comes first, for not all that is read is waited for
            ordered = lexicographical_topological_sort(graph.reverse(), key=lambda stage: places.get(names[stage], -1))
            order = [names[stage] for stage in ordered]
            outputs = {names[stage]: _outputs(stage.cmd) for stage in graph if stage.cmd}
            records = {names[stage]: path for stage in graph if stage.cmd and (path := _record(stage.cmd))}
    except DvcException as fault:
        raise PipelineError(f"DVC cannot read the pipeline in {root}: {fault}") from None
    except TypeError as fault:  # DVC knows no dates, and says so like this
        raise PipelineError(f"DVC cannot read the pipeline in {root}: {fault}; a date must stand in quotes") from None
    return Pipeline(order, outputs, records)


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


def _record(command: str) -> Path | None:
    words = shlex.split(command)
    return Path(words[words.index("--record") + 1]) if "--record" in words[:-1] else None


def written(root: Path) -> list[Path]:
    """Return every file and folder that the stages write, as dvc.yaml lists them; also where DVC refuses the pipeline as a whole."""
    file = root / "dvc.yaml"
    if not file.is_file():
        return []
    try:
        with Repo(str(root), uninitialized=True) as repo:
            stages = load_file(repo, str(file)).resolver.resolve()["stages"]
    except DvcException as fault:
        raise PipelineError(f"DVC cannot read the pipeline in {root}: {fault}") from None
    listed = [item for stage in stages.values() for kind in ("outs", "metrics", "plots") for item in stage.get(kind, [])]
    # an output with settings is a mapping of its path to them
    return [Path(item if isinstance(item, str) else next(iter(item))) for item in listed]


def changed(root: Path, stage: str | None = None) -> bool:
    """Say whether a stage (or any stage) would run: its command, parameters, dependencies or outputs have changed."""
    try:
        with Repo(str(root)) as repo:
            return bool(repo.status(targets=[_target(root, stage)] if stage else None))
    except DvcException as fault:
        raise PipelineError(_busy(str(fault)) or f"DVC cannot compare the pipeline in {root} with dvc.lock: {fault}") from None


def _target(root: Path, stage: str) -> str:
    """Return a stage as DVC finds it from any folder; a file tracked by `dvc add` is a stage named by its path."""
    return str(root / stage) if stage.endswith(".dvc") else f"{root / 'dvc.yaml'}:{stage}"


def reproduce(root: Path, stage: str, *, say: Say, force: bool = False) -> str:
    """Run one stage through `dvc repro`, its output line by line to `say`; return "ran", "restored" or "unchanged".

    What did not run is hashed anew, and put right where it is damaged. Raises PipelineError with the stage's own words when it
    fails. A cancelled caller ends the stage with it.
    """
    drop_damaged_lists(root, stage)
    if force:
        return _run(root, stage, say=say, force=True)
    data = stage.endswith(".dvc") and not all((root / out.path).exists() for out in outputs_of(root, stage))  # DVC stops at missing data
    # a new process only for what has changed; a session knows that by itself
    due = in_session(root) or changed(root, stage)
    outcome = "restored" if data else _run(root, stage, say=say) if due else "unchanged"
    if outcome == "ran" or mend(root, stage, say=say):
        return outcome
    return _run(root, stage, say=say, force=True)


def _run(root: Path, stage: str, *, say: Say, force: bool = False) -> str:
    words = ["repro", "--single-item", *(["--force"] if force else []), stage]
    lines: list[str] = []
    outcome, stopping = "ran", False
    output = dvc(root, words, environment(root))
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
            stopping = stopping or line.startswith((f"{stage} stopped:", "ERROR: "))
            if not stopping:  # those words are the error's
                say(line)
    if status:
        raise PipelineError(_own_words(stage, lines, status))
    return outcome


def environment(root: Path) -> dict[str, str]:
    """Return the environment of a stage: this interpreter's own `python` first, output unbuffered.

    In a worktree of its own a run also has its own locks and scratch files: it neither waits for a person's run nor blocks it.
    """
    first = str(Path(sys.executable).parent)
    own = {"EVERGREEN_HOME": str(root.resolve() / ".evergreen")} if root.resolve().is_relative_to(WORKTREES) else {}
    return {**inherited(), **own, "PATH": f"{first}{os.pathsep}{os.environ.get('PATH', '')}", "PYTHONUNBUFFERED": "1", "COLUMNS": "120"}


def _busy(fault: str) -> str | None:
    """Return what to do where DVC says that another run holds a file, or that it cannot read who does."""
    if "Unable to read RWLock-file" in fault:
        return "a cut-short write, as on a full disk, has damaged DVC's lock table; see that there is room, then run `evergreen train`"
    blocking = re.search(r"is busy, it is being blocked by:\s+\(PID (\d+)\)", fault)
    return blocking and f"another run is at work in this folder (process {blocking[1]}); let it end, or end it, then run again"


def _own_words(stage: str, lines: list[str], status: int) -> str:
    """Return what the stage said when it stopped; what DVC adds is told only where the stage had no words."""
    failed = next((place for place, line in enumerate(lines) if line.startswith("ERROR: ")), len(lines))
    own, dvcs = lines[:failed], "\n".join(lines[failed:]).removeprefix("ERROR: ")
    begin = next((place for place, line in enumerate(own) if line.startswith(f"{stage} stopped:")), None)
    if begin is not None:
        return "\n".join(own[begin:])
    if busy := _busy(dvcs):
        return busy
    if says_full(dvcs):
        return f"{stage} stopped: {full_words(dvcs)}"
    if re.search(r"exited with (-9|137)\b", dvcs):
        return f"{stage} was killed while it worked; where nobody did that, the machine may have run out of memory"
    if any(line.startswith("Traceback (most recent call last)") for line in own):
        return f"{stage} broke: {own[-1]} (its traceback is above)"
    return dvcs or f"{stage} ended with status {status} and said nothing"
