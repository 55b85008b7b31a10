"""The champion of a retraining: the version that is live, and how its files are had.

The pointer of the service says what is live; without one, the registry does. A registered version's files come from DVC's cache or
remote; those of a model that was put live from the project's own folder, before there was a registry, from that folder.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from evergreen.errors import PipelineError
from evergreen.release.live import Place
from evergreen.release.registry import Registry
from evergreen.reports import read_report
from flows import HOME
from flows.bridge.pipeline import read_pipeline
from flows.bridge.remote import fetch, output, recorded

UNREGISTERED = "unregistered"


@dataclass(frozen=True, slots=True)
class Champion:
    """A live version: its name (v1.2.0, or `unregistered`), the model's own version, and its commit; None: it lies in the project."""

    version: str
    model_version: str
    commit: str | None
    root: Path

    def output(self, stage: str, name: str) -> Path:
        """Return the path of a stage's output, as its own pipeline names it."""
        if self.commit is not None:
            return Path(output(self.root, self.commit, stage, name))
        return read_pipeline(self.root).output(stage, name)

    def has(self, path: Path) -> bool:
        """Say whether it has such an output, or such data."""
        return path.as_posix() in recorded(self.root, self.commit) if self.commit is not None else (self.root / path).exists()

    def bring(self, path: Path, target: Path) -> Path:
        """Copy one of its outputs to a place that must not exist yet."""
        if self.commit is not None:
            return fetch(self.root, self.commit, path.as_posix(), target)
        target.parent.mkdir(parents=True, exist_ok=True)
        source = self.root / path
        return Path(shutil.copytree(source, target) if source.is_dir() else shutil.copy2(source, target))


def champion_of(root: Path) -> Champion | None:
    """Return the champion, or None where nothing is live yet; raise PipelineError where its files are nowhere to be found."""
    registry = Registry(root)
    pointer = Place(HOME).read()
    if pointer is None:
        live = registry.live()
        return None if live is None else Champion(live.name, live.model_version, live.commit, root)
    model_version = pointer.champion.version
    for version in reversed(registry.versions()):
        if version.model_version == model_version:
            return Champion(version.name, model_version, version.commit, root)
    if _in_project(root) == model_version:
        return Champion(UNREGISTERED, model_version, None, root)
    raise PipelineError(
        f"model {model_version} is live, but it is neither a registered version (`evergreen versions`) nor the model in {root}, so that "
        f"what it has learned from is not known; put a registered version live (`evergreen promote VERSION`), then try again"
    )


def _in_project(root: Path) -> str | None:
    """Return the version of the model that the project's own folder holds."""
    report = root / read_pipeline(root).output("evaluate", "report")
    found = read_report(report).get("model_version") if report.is_file() else None
    return found if isinstance(found, str) else None
