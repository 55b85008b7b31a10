"""Whose traffic the monitor looks at: the live version, since when it is live, its reference, and its model.

The pointer of the service says what is live; where the service runs elsewhere, the request log does. The reference is the one that the
version's own pipeline wrote: from the project's folder while that version is the one it holds, else from the registry; a copy is kept
in EVERGREEN_HOME, so that a person's work in the project changes nothing here.
"""

import json
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from evergreen.errors import EvergreenError, EvidenceError, MonitorError, PipelineError
from evergreen.release.live import Place

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from evergreen.drift.reference import Reference
    from evergreen.model.inference import Classifier

REFERENCES = Path("monitor") / "references"


@dataclass(frozen=True, slots=True)
class LiveVersion:
    """The version that answers, and since when (seconds since 1970); `bento` is its folder where it is served from this machine."""

    model_version: str
    since: float
    bento: Path | None


def live(engine: "Engine", home: Path) -> LiveVersion | None:
    """Return the live version, or None where nothing has answered yet."""
    from evergreen.monitoring.watch.window import live_version

    pointer = Place(home).read()
    if pointer is not None:
        since = datetime.fromisoformat(pointer.since).timestamp()
        return LiveVersion(pointer.champion.version, since, Place(home).bento(pointer.champion))
    found = live_version(engine)
    return LiveVersion(*found, None) if found else None


def reference_of(version: str, root: Path, home: Path) -> "Reference":
    """Return the reference of a version; raise MonitorError where it is nowhere to be found."""
    from evergreen.drift.reference import Reference

    kept = home / REFERENCES / version
    if kept.is_dir():
        try:
            return Reference.load(kept)
        except EvidenceError:  # of another time, or damaged: the copy is not what counts
            shutil.rmtree(kept)
    try:
        _keep(_found(version, root), kept)
    except MonitorError:
        if not _fetched(version, root, kept):
            raise
    return Reference.load(kept)


def _found(version: str, root: Path) -> Path:
    from flows.bridge.pipeline import read_pipeline

    try:
        folder = root / read_pipeline(root).output("snapshot", "reference")
    except PipelineError as fault:  # a checkout that is being edited; a registered version's reference lies elsewhere, too
        raise MonitorError(f"model {version} is live, and its reference cannot be looked for in {root}: {fault}") from None
    try:
        told = json.loads((folder / "reference.json").read_text(encoding="utf-8"))["model_version"]
    except (OSError, ValueError, KeyError):
        told = None
    if told == version:
        return folder
    here = f"holds that of {told}" if told else "holds none"
    raise MonitorError(f"model {version} is live, but its reference is missing: {folder} {here}; run the monitor in that version's project")


def _fetched(version: str, root: Path, kept: Path) -> bool:
    """Bring the reference of a registered version from DVC's cache or remote; say whether there is such a version."""
    from evergreen.errors import RegistryError
    from evergreen.release.registry import Registry
    from flows.bridge.remote import fetch, output

    try:
        commits = [known.commit for known in Registry(root).versions() if known.model_version == version]
    except RegistryError:  # no repository, so nothing is registered
        return False
    if not commits:
        return False
    kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fetch(root, commits[-1], output(root, commits[-1], "snapshot", "reference"), kept)
    return True


def _keep(folder: Path, kept: Path) -> None:
    """Copy a reference, all of it or nothing."""
    beside = kept.with_name(f".{kept.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    beside.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copytree(folder, beside)
    beside.replace(kept)


def model_of(version: LiveVersion, root: Path) -> "Classifier":
    """Return the live version's model: from the Bento that is served, else from the project where it holds that version."""
    from evergreen.model.inference import Classifier

    places = [(version.bento / "src" / "artifact", version.bento / "src" / "calibration.json")] if version.bento else []
    for artifact, calibration in [*places, *_in_project(root)]:
        if not calibration.is_file():
            continue
        try:
            model = Classifier.load(artifact, calibration)
        except EvidenceError:
            continue
        if model.version == version.model_version:
            return model
    raise MonitorError(
        f"model {version.model_version} is live, but it lies neither in {version.bento or 'a Bento served from here'} nor in {root}, and "
        "without it no embeddings can be compared; run the monitor where the service runs, or in that version's project"
    )


def _in_project(root: Path) -> list[tuple[Path, Path]]:
    from flows.bridge.pipeline import read_pipeline

    try:
        plan = read_pipeline(root)
    except EvergreenError:
        return []
    return [(root / plan.output("compress", "artifact"), root / plan.output("calibrate", "calibration"))]
