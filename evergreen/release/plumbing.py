"""Git without a checkout: blobs, trees, commits, references and tags, made by git's own plumbing commands.

Nothing here looks at or changes a working tree, an index or HEAD: trees are built in an index of their own, hooks and signing settings of
a person stay out of it, and a reference moves only from the value that the caller knows (compare and swap).
Knows nothing of versions, ledgers or models.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from evergreen.errors import RegistryError

ABSENT = "0" * 40
STALE = 60  # seconds; git holds the lock of a reference for milliseconds
# What a hook or an alias of git may have set for the process that we run in: it would lead us to another repository or index.
STRAY = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_PREFIX", "GIT_NAMESPACE")
PLAIN = ("-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=false", "-c", "gc.auto=0")
NOBODY = {
    f"GIT_{role}_{what}": word
    for role in ("AUTHOR", "COMMITTER")
    for what, word in (("NAME", "Evergreen"), ("EMAIL", "evergreen@localhost"))
}


def inherited() -> dict[str, str]:
    """Return the environment that a process of ours gets: our own, without what a hook of git has set for us."""
    return {name: value for name, value in os.environ.items() if name not in STRAY}


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag: what it points to, its own object, when it was made (seconds since 1970; 0 where it is a bare name), and what it says."""

    name: str
    commit: str
    object: str
    time: int
    message: str

    @property
    def annotated(self) -> bool:
        """Whether it has an object of its own; a bare name for a commit has none."""
        return self.object != self.commit


class Git:
    """A repository, seen from a project's folder in it. Paths of files are relative to that folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.prefix = self.run("rev-parse", "--show-prefix").decode().strip()

    def run(self, *words: str, given: bytes = b"", environment: Mapping[str, str] | None = None) -> bytes:
        """Run a git command and return what it printed; raise RegistryError with git's own words."""
        done = self._done(words, given, environment)
        if done.returncode:
            told = done.stderr.decode(errors="replace").strip() or f"status {done.returncode}"
            raise RegistryError(f"git {' '.join(words[:2])} failed in {self.root}: {told}")
        return done.stdout

    def _done(
        self, words: Sequence[str], given: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[bytes]":
        told = inherited() | {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"} | dict(environment or {})
        try:
            return subprocess.run(["git", *PLAIN, *words], cwd=self.root, env=told, input=given, capture_output=True, check=False)
        except OSError as fault:
            raise RegistryError(f"git cannot be run in {self.root}: {fault.strerror}; the registry needs git and a repository") from None

    def commit_of(self, name: str) -> str | None:
        """Return the commit that a branch, a tag or the beginning of a hash stands for, or None."""
        done = self._done(["rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"])
        return done.stdout.decode().strip() or None if done.returncode == 0 else None

    def is_ancestor(self, one: str, other: str) -> bool:
        """Say whether a commit is another one or among its ancestors."""
        return self._done(["merge-base", "--is-ancestor", one, other]).returncode == 0

    def read(self, path: str, commit: str) -> bytes | None:
        """Return a file as a commit has it, or None."""
        answer = self.run("cat-file", "--batch", given=f"{commit}:{self.prefix}{path}\n".encode())
        head, _, content = answer.partition(b"\n")
        words = head.split()
        return content[: int(words[2])] if len(words) == 3 and words[1] == b"blob" else None

    def files(self, commit: str) -> list[str]:
        """Return the paths of all files of a commit."""
        told = self.run("ls-tree", "-r", "-z", "--name-only", commit).decode(errors="surrogateescape")
        return [path for path in told.split("\0") if path]

    def commit(self, files: Mapping[str, bytes | None], message: str, *, base: str, parents: Sequence[str]) -> str:
        """Make a commit whose tree is that of `base` with some files replaced, added or (None) taken out; no branch moves."""
        blobs = {path: self._blob(content) if content is not None else None for path, content in files.items()}
        lines = [f"100644 {blob}\t{self.prefix}{path}" if blob else f"0 {ABSENT}\t{self.prefix}{path}" for path, blob in blobs.items()]
        with tempfile.TemporaryDirectory(prefix="evergreen-index-") as folder:
            own = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            self.run("read-tree", base, environment=own)
            self.run("update-index", "-z", "--index-info", given="".join(f"{line}\0" for line in lines).encode(), environment=own)
            tree = self.run("write-tree", environment=own).decode().strip()
        given = [word for parent in dict.fromkeys(parents) for word in ("-p", parent)]
        return self.run("commit-tree", tree, *given, given=message.encode(), environment=self.identity()).decode().strip()

    def _blob(self, content: bytes) -> str:
        return self.run("hash-object", "-w", "--stdin", given=content).decode().strip()

    def move(self, reference: str, to: str, *, was: str | None) -> bool:
        """Point a reference to an object if it still has the value `was` (None: it is not there); say whether it was so."""
        done = self._done(["update-ref", "--create-reflog", reference, to, was or ABSENT], environment=self.identity())
        if done.returncode == 0:
            return True
        told = done.stderr.decode(errors="replace").strip()
        if "File exists" in told:
            self._unlock(reference)
        elif not any(words in told for words in ("but expected", "reference already exists", "unable to resolve reference")):
            raise RegistryError(f"{reference} cannot be moved in {self.root}: {told}")
        return False

    def _unlock(self, reference: str) -> None:
        """Remove the lock that a killed git has left on a reference; one that is young is in use."""
        path = Path(os.fsdecode(self.run("rev-parse", "--path-format=absolute", "--git-path", f"{reference}.lock")).strip())
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > STALE:
                path.unlink()

    def tag(self, name: str, commit: str, message: str, *, after: int = 0) -> bool:
        """Make an annotated tag, dated later than `after`; say whether the name was free."""
        who, _, moment = self.run("var", "GIT_COMMITTER_IDENT", environment=self.identity()).decode().strip().rpartition("> ")
        seconds, _, zone = moment.partition(" ")
        made = f"object {commit}\ntype commit\ntag {name}\ntagger {who}> {max(int(seconds), after + 1)} {zone}\n\n{message}\n"
        return self.move(f"refs/tags/{name}", self.run("mktag", given=made.encode()).decode().strip(), was=None)

    def tags(self, pattern: str, *, bare: bool = False) -> list[Tag]:
        """Return the annotated tags whose names fit a pattern, and with `bare` the others, in no order that means anything."""
        fields = ("%(refname:strip=2)", "%(*objectname)", "%(objectname)", "%(taggerdate:unix)", "%(contents)")
        told = self.run("for-each-ref", f"--format={'%00'.join(fields)}%00", f"refs/tags/{pattern}").decode(errors="replace")
        words = told.split("\0")[:-1]
        rows = (words[place : place + len(fields)] for place in range(0, len(words), len(fields)))
        return [Tag(row[0].lstrip("\n"), row[1] or row[2], row[2], int(row[3] or 0), row[4]) for row in rows if row[1] or bare]

    def checked_out(self, branch: str) -> Path | None:
        """Return the working tree that has a branch checked out, if any."""
        told = self.run("worktree", "list", "--porcelain").decode(errors="replace")
        folders = (dict(line.partition(" ")[::2] for line in block.splitlines()) for block in told.split("\n\n"))
        return next((Path(folder["worktree"]) for folder in folders if folder.get("branch") == f"refs/heads/{branch}"), None)

    def identity(self) -> dict[str, str]:
        """Return who commits: the person whose git knows them, or else a name of our own."""
        known = self._done(["-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT"]).returncode == 0
        return {} if known else NOBODY

    def person(self) -> str | None:
        """Return the name that a person has told git, if any."""
        return self._done(["config", "--get", "user.name"]).stdout.decode(errors="replace").strip() or None
