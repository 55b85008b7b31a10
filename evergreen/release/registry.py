"""Versions of the model, in git: a branch that holds what was produced, tags that name versions, tags that say which one is live.

    evergreen/models        the branch: every candidate's commit, and the ledger (see `ledger`)
    model@v1.2.0            a version: an annotated tag on the commit whose lock file pins its data, code, parameters and outputs
    model#prod#3            the third assignment: from here on the version of that commit is live in the stage `prod`

Names follow GTO's conventions, so that `gto show`, `gto history` and `dvc artifacts get` read them. A project below the top of its
repository has a branch of its own and tags that begin with its folder. Nothing is ever checked out.
Knows nothing of files in a commit, of services or of DVC.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evergreen.errors import RegistryError
from evergreen.release.plumbing import Git, Tag

ARTIFACT, BRANCH, STAGE = "model", "evergreen/models", "prod"
SEMVER = re.compile(r"v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
MODEL_VERSION = re.compile(r"^Model-Version: (\S+)$", re.MULTILINE)
TRIES = 50


@dataclass(frozen=True, slots=True)
class Version:
    """A version: its name (v1.2.0), commit, the model's own version ("" where another tool made the tag), and its time (since 1970)."""

    name: str
    commit: str
    model_version: str
    time: float


class Registry:
    """The versions of the project whose folder is `root`, in a person's checkout or a worktree of it."""

    def __init__(self, root: Path) -> None:
        self.git = Git(root)
        folder = self.git.prefix.rstrip("/")
        self.branch = f"evergreen/{folder}/models" if folder else BRANCH
        self.artifact = f"{folder}={ARTIFACT}" if folder else ARTIFACT

    def head(self) -> str | None:
        """Return the newest commit of the branch, or None where nothing has been produced yet."""
        return self.git.commit_of(f"refs/heads/{self.branch}")

    def resolve(self, name: str) -> str:
        """Return the commit that a branch, a tag or a hash stands for; raises RegistryError where there is none."""
        found = self.git.commit_of(name)
        if found is None:
            raise RegistryError(f"there is no commit {name!r} in {self.git.root}")
        return found

    def commit(self, files: Mapping[str, bytes | None], message: str, *, base: str, parents: Sequence[str]) -> str:
        """Make a commit: the tree of `base` with files replaced or (None) taken out. No branch moves; see `land` and `Ledger.append`."""
        return self.git.commit(files, message, base=base, parents=parents)

    def read(self, path: str, commit: str | None = None) -> bytes | None:
        """Return a file as a commit (or the branch) has it, or None."""
        found = commit or self.head()
        return self.git.read(path, found) if found else None

    def advance(self, commit: str, *, was: str | None) -> bool:
        """Move the branch if its head is still `was`; say whether it was. Raises RegistryError where a person has it checked out."""
        folder = self.git.checked_out(self.branch)
        if folder is not None:
            raise RegistryError(
                f"{folder} has the branch {self.branch} checked out, and it cannot move under a person's feet; "
                f"run `git switch --detach` there, then try again"
            )
        return self.git.move(f"refs/heads/{self.branch}", commit, was=was)

    def versions(self) -> list[Version]:
        """Return every version that is registered, the lowest first."""
        return _versions(self._named())

    def find(self, name: str) -> Version:
        """Return the version called v1.2.0, 1.2.0, model@v1.2.0, or by the beginning of its model's version or its commit."""
        versions, wanted = self.versions(), name.removeprefix(f"{self.artifact}@")
        exact = [version for version in versions if version.name in (wanted, f"v{wanted}")]
        alike = exact or [v for v in versions if len(wanted) >= 4 and (v.model_version.startswith(wanted) or v.commit.startswith(wanted))]
        if len(alike) != 1:
            told = (
                ", ".join(f"{version.name} ({version.model_version or version.commit[:12]})" for version in alike or versions) or "none yet"
            )
            raise RegistryError(
                f"{name!r} {'fits several versions' if alike else 'is no version here'}; {'they' if alike else 'there'} are: {told}"
            )
        return alike[0]

    def version_of(self, commit: str) -> Version | None:
        """Return the newest version on a commit, if it has one."""
        return next((version for version in reversed(self.versions()) if version.commit == commit), None)

    def tag(self, version: str, commit: str, *, model_version: str = "", why: str = "") -> Version:
        """Name a commit's version. The same once more is no error; the name on another commit is."""
        if not SEMVER.fullmatch(version):
            raise RegistryError(f"{version!r} is no version; write v1.2.0")
        message = f"{ARTIFACT} {version}{f': {why}' if why else ''}\n\nModel-Version: {model_version or 'unknown'}"
        self.git.tag(f"{self.artifact}@{version}", commit, message)
        found = next((known for known in self.versions() if known.name == version), None)
        if found is None or found.commit != commit:
            raise RegistryError(
                f"{version} is {found.commit[:12] if found else 'taken back'} already; a version is named once and for ever"
            )
        return found

    def register(self, commit: str, *, model_version: str, why: str = "", breaking: bool = False) -> Version:
        """Return the version of a commit, giving it the next name where it has none; safe against others who do the same."""
        for _ in range(TRIES):
            # both from one look: between two, another run may have named this very commit
            tags = self._named()
            known = _versions(tags)
            found = next((version for version in reversed(known) if version.commit == commit), None)
            if found is not None:
                return found
            name = _next(tags, breaking=breaking)
            message = f"{ARTIFACT} {name}{f': {why}' if why else ''}\n\nModel-Version: {model_version}"
            self.git.tag(f"{self.artifact}@{name}", commit, message)
        raise RegistryError(f"no version could be named in {TRIES} tries: other runs keep taking the next name; try again")

    def assign(self, version: Version, stage: str = STAGE, *, why: str = "") -> str:
        """Say that a version is live in a stage from now on; return the tag's name."""
        for _ in range(TRIES):
            # Counted over all stages, as GTO does, and dated in the order of the counter: GTO sorts by time, which has whole seconds.
            tags = self._assignments("*")
            number = max((_counter(tag) for tag in tags), default=0) + 1
            name = f"{self.artifact}#{stage}#{number}"
            after = max((tag.time for tag in (*tags, *self.git.tags(f"{self.artifact}@*"))), default=0)
            if self.git.tag(name, version.commit, f"{ARTIFACT} {version.name} in {stage}{f': {why}' if why else ''}", after=after):
                return name
        raise RegistryError(f"{version.name} could not be assigned in {TRIES} tries: other runs keep doing the same; try again")

    def live(self, stage: str = STAGE) -> Version | None:
        """Return the version that the newest assignment of a stage names, or None."""
        newest = max(self._assignments(stage), key=_counter, default=None)
        if newest is None or newest.name.split("#")[1].endswith("!"):
            return None
        return self.version_of(newest.commit)

    def assignments(self, stage: str = STAGE) -> list[Tag]:
        """Return all tags that git, GTO or DVC may take for an assignment of a stage: bare names and strange numbers, too."""
        stems = (f"{self.artifact}#{stage}", f"{self.artifact}#{stage}!")
        return [tag for stem in stems for pattern in (stem, f"{stem}#*") for tag in self.git.tags(pattern, bare=True)]

    def _named(self) -> dict[str, Tag]:
        return {tag.name.partition("@")[2]: tag for tag in self.git.tags(f"{self.artifact}@*")}

    def _assignments(self, stage: str) -> list[Tag]:
        return [
            tag for pattern in (f"{self.artifact}#{stage}#*", f"{self.artifact}#{stage}!#*") for tag in self.git.tags(pattern)
            if tag.name.rpartition("#")[2].isdecimal()
        ]  # fmt: skip


def _versions(tags: Mapping[str, Tag]) -> list[Version]:
    named = [name for name in tags if SEMVER.fullmatch(name) and f"{name}!" not in tags]  # "!" takes a version back
    return [_version(name, tags[name]) for name in sorted(named, key=_order)]


def _next(tags: Mapping[str, Tag], *, breaking: bool) -> str:
    given = [_order(name) for name in tags if SEMVER.fullmatch(name)]
    if not given:
        return "v1.0.0"
    major, minor, _ = max(given)
    return f"v{major + 1}.0.0" if breaking else f"v{major}.{minor + 1}.0"


def _version(name: str, tag: Tag) -> Version:
    found = MODEL_VERSION.search(tag.message)
    return Version(name, tag.commit, found[1] if found and found[1] != "unknown" else "", float(tag.time))


def _order(name: str) -> tuple[int, ...]:
    found = SEMVER.fullmatch(name)
    assert found is not None
    return tuple(int(part) for part in found.groups())


def _counter(tag: Tag) -> int:
    return int(tag.name.rpartition("#")[2])
