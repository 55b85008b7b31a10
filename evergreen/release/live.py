"""Which version is live: a pointer that survives power loss, and the folders of the versions that it may point to.

Everything lies in one folder of EVERGREEN_HOME:

    serve/live.json         the pointer: champion, the one before it, the challenger on trial
    serve/releases/NAME/    copies of Bentos, verified when they came in: what is served cannot change under the service
    serve/run/              sockets, while the service runs

Knows nothing of processes, requests or BentoML; `serving/machine/supervisor.py` is the only writer while it runs.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from evergreen.errors import ReleaseError
from evergreen.release.manifest import Verified, adopt, bring_signature, verify

LONGEST_SOCKET_FOLDER = 70  # a Unix socket's address has 107 bytes
KEPT = 5  # releases that nothing points to any more, the youngest ones


@dataclass(frozen=True, slots=True)
class Release:
    """A version in the releases folder: `name` of its folder, the Bento's version, and the sha256 of its manifest."""

    name: str
    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class Trial:
    """A challenger beside the champion; in a canary it answers for `share` (0 to 1) of the API keys."""

    release: Release
    mode: Literal["shadow", "canary"]
    share: float


@dataclass(frozen=True, slots=True)
class Live:
    """The pointer. `generation` counts its changes; `since` is when the champion became it, ISO 8601 in UTC."""

    generation: int
    champion: Release
    previous: Release | None
    trial: Trial | None
    since: str

    @property
    def releases(self) -> tuple[Release, ...]:
        """Every release that it names."""
        named = [self.champion, self.previous, self.trial.release if self.trial else None]
        return tuple({release.name: release for release in named if release is not None}.values())

    def promoted(self, release: Release) -> "Live":
        """Return the pointer with another champion; the present one is kept for going back, a trial of the new one ends."""
        trial = None if self.trial and self.trial.release == release else self.trial
        return Live(self.generation + 1, release, self.champion, trial, _now())

    def rolled_back(self) -> "Live":
        """Return the pointer with the champion before this one; raises ReleaseError where there is none."""
        if self.previous is None:
            raise ReleaseError(f"there is no version to go back to: {self.champion.version} is the first that was live here")
        return self.promoted(self.previous)

    def trying(self, trial: Trial | None) -> "Live":
        """Return the pointer with another challenger, or none."""
        if trial and trial.release == self.champion:
            raise ReleaseError(f"{trial.release.version} is the champion itself; a challenger must be another version")
        return replace(self, generation=self.generation + 1, trial=trial)


def first(release: Release) -> Live:
    """Return the pointer of a service that goes live for the first time."""
    return Live(1, release, None, None, _now())


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of the service's state, `serve/` in EVERGREEN_HOME."""

    home: Path

    @property
    def folder(self) -> Path:
        """Where pointer and releases lie."""
        return self.home / "serve"

    @property
    def run(self) -> Path:
        """Where the sockets lie: below EVERGREEN_HOME, or in /tmp where that path is too long for a socket's address."""
        inside = (self.folder / "run").resolve()
        if len(str(inside)) <= LONGEST_SOCKET_FOLDER:
            return inside
        return Path("/tmp") / f"evergreen-{os.getuid()}-{sha256(str(inside).encode()).hexdigest()[:12]}"

    @property
    def control(self) -> Path:
        """The socket on which a running service takes commands."""
        return self.run / "control.sock"

    @property
    def trusted(self) -> Path:
        """The public keys whose signature a Bento needs; where the folder is empty or missing, none is asked for."""
        return self.home / "trusted"

    def bento(self, release: Release) -> Path:
        """Return the folder of a release."""
        return self.folder / "releases" / release.name

    def read(self) -> Live | None:
        """Return the pointer, or None where nothing has been live yet; raises ReleaseError when it is damaged."""
        path = self.folder / "live.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return _live(content)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as fault:
            raise ReleaseError(
                f"{path} is damaged ({type(fault).__name__}); delete it and name the version: evergreen serve BENTO"
            ) from None

    def write(self, live: Live) -> None:
        """Write the pointer so that a power loss leaves the old one or the new one, whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = self.folder / ".live.json.partial"
        with beside.open("w", encoding="utf-8") as file:
            json.dump({"format": 1, **asdict(live)}, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, self.folder / "live.json")
        _flush_folder(self.folder)

    def admit(self, bento: Path) -> Release:
        """Verify a Bento and copy it among the releases; the same one twice is the same release.

        Raises ReleaseError that says what is wrong; then nothing has been added.
        """
        release = _named(verify(bento, trusted=self.trusted))
        target = self.bento(release)
        if target.exists():
            bring_signature(bento, target)
            self.check(release)
            return release
        target.parent.mkdir(parents=True, exist_ok=True)
        if _named(adopt(bento, target, trusted=self.trusted)) != release:
            shutil.rmtree(target)
            raise ReleaseError(f"{bento} changed while it was being copied; try again")
        return release

    def check(self, release: Release) -> None:
        """Verify a release once more, signature included, before it is started."""
        found = _named(verify(self.bento(release), trusted=self.trusted))
        if found != release:
            raise ReleaseError(f"{self.bento(release)} holds {found.name}, not {release.name}; bring the Bento again: evergreen swap BENTO")

    def find(self, name: str) -> Path:
        """Return the folder of a Bento named by its path, or by the beginning of the version of a release that is kept."""
        if (Path(name) / "bento.yaml").is_file() or (Path(name) / "MANIFEST.json").is_file():
            return Path(name)
        kept = sorted((self.folder / "releases").glob("[!.]*")) if name else []
        matching = [folder for folder in kept if folder.name.startswith(name)]
        if len(matching) == 1:
            return matching[0]
        told = ", ".join(folder.name for folder in matching or kept) or "none yet"
        what = "fits several releases" if matching else "is neither the folder of a Bento nor a release kept here"
        raise ReleaseError(f"{name!r} {what} ({told})")

    def sweep(self, live: Live) -> None:
        """Remove what killed copies left, and the oldest releases that nothing points to, all but KEPT."""
        folder = self.folder / "releases"
        for left in folder.glob(".*"):
            shutil.rmtree(left, ignore_errors=True)
        named = {release.name for release in live.releases}
        idle = sorted((item for item in folder.iterdir() if item.name not in named), key=lambda item: item.stat().st_mtime)
        for item in idle[:-KEPT]:
            shutil.rmtree(item, ignore_errors=True)


def _live(content: dict[str, Any]) -> Live:
    trial = content["trial"]
    return Live(
        generation=int(content["generation"]),
        champion=Release(**content["champion"]),
        previous=Release(**content["previous"]) if content["previous"] else None,
        trial=Trial(Release(**trial["release"]), trial["mode"], float(trial["share"])) if trial else None,
        since=str(content["since"]),
    )


def _named(verified: Verified) -> Release:
    return Release(f"{verified.version}-{verified.digest[:8]}", verified.version, verified.digest)


def _flush_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
