"""What a person wants to read of a candidate, kept in EVERGREEN_HOME/candidates/MODEL_VERSION: its worktree is gone when they look.

Copies of the reports that its commit records, each checked against its hash. Knows nothing of what stands in them.
"""

import shutil
from pathlib import Path

from flows import HOME
from flows.bridge.remote import fetch
from flows.making.produce import Candidate

CANDIDATES = HOME / "candidates"
KEPT = (("document", "dossier"), ("document", "card"), ("gate", "verdict"), ("challenge", "report"))
MOST = 20  # candidates, the youngest ones


def keep(root: Path, candidate: Candidate) -> Path:
    """Copy the reports of a candidate; return their folder. Of older candidates only the youngest are kept."""
    folder = CANDIDATES / candidate.model_version
    beside = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    for stage, name in KEPT:
        path = candidate.plan.output(stage, name)
        fetch(root, candidate.commit, path.as_posix(), beside / path.name)
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)
    for old in sorted(CANDIDATES.glob("[!.]*"), key=lambda path: path.stat().st_mtime)[:-MOST]:
        shutil.rmtree(old, ignore_errors=True)
    return folder
