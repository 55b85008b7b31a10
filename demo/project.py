"""A project of the demo's own: a clone of this one with its own state, so that nothing of a person's is touched."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from evergreen.params_file import edit_params

# A window is two weeks of messages. Everything else is as params.yaml has it.
SETTINGS = {
    "monitor.schedule": None,  # the demo asks for each look itself: two weeks pass in seconds
    "monitor.windows": 26,  # a year of two weeks each
    "policy.max_age_days": None,  # the training data is of 2025, and the demo's messages are sent today
    "policy.estimated_loss": 0.01,  # drift with any loss to speak of; found on autumn's messages
    "policy.min_labels": 350,  # not 200: the retraining comes a window later, on more rows, with 105 new ones for the gate instead of 70
    "policy.cooldown_hours": 0.0,  # the first version was made minutes ago
    "policy.budget": 2,  # that one and one retraining
    "retrain.branch": "main",
    "document.title": "Harbour Bank support inbox router (demo)",
}
MARK = "made-by-the-demo"  # a folder that holds this file may be removed
IDENTITY = {
    "GIT_AUTHOR_NAME": "Demo",
    "GIT_AUTHOR_EMAIL": "demo@localhost",
    "GIT_COMMITTER_NAME": "Demo",
    "GIT_COMMITTER_EMAIL": "demo@localhost",
}


class Project:
    """The demo's folder: `project/` is the clone, `home/` its EVERGREEN_HOME."""

    def __init__(self, folder: Path, source: Path) -> None:
        self.folder, self.source = folder, source
        self.root, self.home = folder / "project", folder / "home"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every command: this interpreter first, state in `home/`, nothing of an outer Prefect or Evergreen."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "EVERGREEN_"))}
        first = str(Path(sys.executable).parent)
        return kept | IDENTITY | {"EVERGREEN_HOME": str(self.home), "PATH": f"{first}{os.pathsep}{kept['PATH']}", "PYTHONUNBUFFERED": "1"}

    def make(self) -> None:
        """Clone what is committed, share the DVC cache, and commit the demo's settings. What an earlier demo left is removed.

        Ends the demo where the folder holds anything else: it is somebody's.
        """
        if self.folder.exists() and any(self.folder.iterdir()):
            if not (self.folder / MARK).exists():
                raise SystemExit(f"{self.folder} holds files that no demo has made; name a new or an empty folder, or remove it yourself")
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / MARK).touch()
        self._git(self.folder, "clone", "--quiet", "--no-tags", str(self.source), str(self.root))
        self._git(self.root, "switch", "--quiet", "--force-create", "main")
        cache = (self.source / ".dvc" / "cache").resolve()
        (self.root / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {cache}\n", encoding="utf-8")
        edit_params(self.root / "params.yaml", SETTINGS)
        self._git(self.root, "commit", "--quiet", "--all", "--message=Settings of the demo")

    def evergreen(self, *words: str) -> str:
        """Run a command of Evergreen in the project and return what it said; a failure ends the demo with its words."""
        return self._run([sys.executable, "-m", "flows", *words], self.root)

    def bring(self, path: str, commit: str) -> Path:
        """Bring an output of a commit out of DVC's cache or remote; return where it lies."""
        target = self.folder / commit[:12] / Path(path).name
        target.parent.mkdir(exist_ok=True)
        self._run([sys.executable, "-m", "dvc", "get", str(self.root), path, "--rev", commit, "--out", str(target)], self.root)
        return target

    def _git(self, folder: Path, *words: str) -> str:
        return self._run(["git", "-c", "core.hooksPath=/dev/null", *words], folder)

    def _run(self, command: list[str], folder: Path) -> str:
        done = subprocess.run(command, cwd=folder, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command[-4:])} failed in {folder}:\n{(done.stderr or done.stdout).strip()[-2000:]}")
        return done.stdout.strip()
