"""Repositories for the tests of registry, ledger and release: a person's checkout with edits, and hooks that refuse everything."""

from pathlib import Path

from evergreen.release.ledger import Ledger
from evergreen.release.registry import Registry
from evergreen.release.signing import create_key, read_trusted
from tests.project_factories import git

HOOKS = ("pre-commit", "commit-msg", "post-commit", "post-checkout", "pre-push", "reference-transaction")


def repository(root: Path) -> Path:
    """Make a repository of one commit, with a staged and an unstaged edit, a file of nobody's, and hooks that fail."""
    root.mkdir(parents=True)
    git(root, "init", "--quiet", "--initial-branch=main")
    (root / "params.yaml").write_text("seed: 17\n", encoding="utf-8")
    (root / "code.py").write_text("print(1)\n", encoding="utf-8")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message=one")
    for name in HOOKS:
        hook = root / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
        hook.chmod(0o755)
    (root / "code.py").write_text("print(2)  # a person's edit\n", encoding="utf-8")
    (root / "new.py").write_text("print(3)\n", encoding="utf-8")
    return root


def checkout(root: Path) -> tuple[str, ...]:
    """Return all that a person sees of a checkout: HEAD, index, status, stashes, contents of files."""
    contents = [path.read_text(encoding="utf-8") for path in sorted(root.iterdir()) if path.is_file()]
    index = (root / ".git" / "index").read_bytes().hex()
    head = (root / ".git" / "HEAD").read_text(encoding="utf-8")
    return (head, git(root, "rev-parse", "HEAD"), index, git(root, "--no-optional-locks", "status", "--porcelain"), *contents)


def candidate(registry: Registry, number: int = 1) -> str:
    """Make the two commits of a candidate, inputs and results, and return the second."""
    code = registry.resolve("main")
    parents = [parent for parent in (registry.head(), code) if parent]
    inputs = registry.commit({"params.yaml": f"seed: {number}\n".encode()}, f"inputs {number}\n", base=code, parents=parents)
    return registry.commit({"dvc.lock": f"lock {number}\n".encode()}, f"results {number}\n", base=inputs, parents=[inputs])


def signed_ledger(registry: Registry, folder: Path) -> Ledger:
    """Return a ledger that signs with a key of its own, in the folder."""
    return Ledger(registry, create_key(folder, "ledger").with_suffix(".pem"))


def faults(ledger: Ledger, folder: Path) -> list[str]:
    """Return what is wrong with a ledger whose keys lie in the folder."""
    return ledger.verify(read_trusted(folder))
