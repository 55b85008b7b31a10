"""The manifest of a Bento: every file with its sha256, so that what is started is what was built, and by whom it is vouched for.

`MANIFEST.json` at the Bento's root: {"format": 1, "name", "version", "files": {path inside the Bento: sha256}}. `MANIFEST.sig` beside
it, if any, is a signature over its very bytes (see `signing`). Byte code that Python leaves in `__pycache__` is no part of a Bento:
`verify` passes it over, so a process that must run nothing but what was verified runs from a copy made by `adopt`, which
takes the files of the manifest alone, and is started so that it writes none (`python -B`).

Imports the standard library and the signing alone. Knows nothing of BentoML, of models or of processes.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from evergreen.errors import ReleaseError
from evergreen.release.signing import check_signature, read_trusted

MANIFEST, SIGNATURE = "MANIFEST.json", "MANIFEST.sig"
FORMAT = 1
BYTE_CODE = "__pycache__"
MOST_BYTES = 10_000_000  # of a manifest: a Bento has some hundred files
DIGEST = re.compile("[0-9a-f]{64}")
NAME = re.compile("[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")  # of a Bento or a version: others make folders of them
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Verified:
    """A Bento whose every file is what its manifest says. `digest` is the manifest's own sha256.

    `signed_by` names the trusted key that vouches for it; None where no key is trusted, so that nobody could be asked.
    """

    name: str
    version: str
    digest: str
    signed_by: str | None


def write_manifest(bento: Path, *, name: str, version: str) -> None:
    """Write MANIFEST.json of all files that lie in the folder now; an older signature goes."""
    (bento / SIGNATURE).unlink(missing_ok=True)
    files = {path: _sha256(bento, path) for path in sorted(_files(bento))}
    content = {"format": FORMAT, "name": name, "version": version, "files": files}
    (bento / MANIFEST).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def verify(bento: Path, trusted: Path | None = None) -> Verified:
    """Check every file of a Bento against its manifest, and the manifest's signature against the keys in the folder `trusted`.

    Where that folder holds keys, a Bento that none of them signed is refused. Raises ReleaseError naming each file that is changed,
    missing or extra, and anything that is no plain file.
    """
    verified, files = _read(bento, trusted)
    found = set(_files(bento))
    changed = [path for path in sorted(found & files.keys()) if _sha256(bento, path) != files[path]]
    _refuse(bento, changed=changed, missing=sorted(files.keys() - found), extra=sorted(found - files.keys()))
    return verified


def adopt(bento: Path, target: Path, trusted: Path | None = None) -> Verified:
    """Copy the files of a Bento's manifest to `target`, a folder that must not exist yet, and check each as it is copied.

    The copy is whole and on the disk, or not there at all: it has what was verified and nothing else, whatever becomes of the original.
    Raises ReleaseError as `verify` does, extra files aside, which stay behind.
    """
    if target.exists():
        raise ReleaseError(f"{target} is there already; a version is adopted once")
    verified, files = _read(bento, trusted)
    found = set(_files(bento))
    _refuse(bento, changed=[], missing=sorted(files.keys() - found), extra=[])
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for path, digest in files.items():
            (partial / path).parent.mkdir(parents=True, exist_ok=True)
            with (partial / path).open("xb") as copy:
                if _sha256(bento, path, copy) != digest:
                    _refuse(bento, changed=[path], missing=[], extra=[])
        for name in (MANIFEST, SIGNATURE):
            if (bento / name).exists():
                (partial / name).write_bytes(_plain(bento, name))
        if sha256((partial / MANIFEST).read_bytes()).hexdigest() != verified.digest:
            raise ReleaseError(f"{bento / MANIFEST} changed while it was read; try again")
        _to_disk(partial)
        partial.rename(target)
        _to_disk(target.parent, deep=False)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return verified


def bring_signature(bento: Path, copy: Path) -> None:
    """Give a copy the signature that the same Bento has got since it was adopted."""
    if (bento / SIGNATURE).exists() and _plain(bento, MANIFEST) == _plain(copy, MANIFEST):
        partial = copy.with_name(f".{copy.name}.{SIGNATURE}")  # beside it: inside, a killed process would leave an extra file
        partial.write_bytes(_plain(bento, SIGNATURE))
        partial.replace(copy / SIGNATURE)


def _read(bento: Path, trusted: Path | None) -> tuple[Verified, dict[str, str]]:
    """Return what a manifest says, its signature checked, and its files by path."""
    if not bento.is_dir():
        raise ReleaseError(f"there is no Bento at {bento}; `make run` builds one")
    raw = _plain(bento, MANIFEST)
    content = _content(bento, raw)
    keys = read_trusted(trusted) if trusted else {}
    signature = _plain(bento, SIGNATURE) if (bento / SIGNATURE).exists() else None
    signed_by = check_signature(raw, signature, keys, what=bento, trusted=trusted) if keys else None
    return Verified(content["name"], content["version"], sha256(raw).hexdigest(), signed_by), content["files"]


def _content(bento: Path, raw: bytes) -> dict[str, Any]:
    """Return a manifest's content, or refuse what is none, and every path in it that leads out of the Bento."""
    try:
        content = json.loads(raw)
        texts = [content["name"], content["version"], *content["files"], *content["files"].values()]
        if content["format"] != FORMAT or not all(isinstance(text, str) for text in texts) or not all(map(NAME.fullmatch, texts[:2])):
            raise ValueError
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ReleaseError(f"{bento / MANIFEST} is no manifest of format {FORMAT}; build the Bento again (`dvc repro package`)") from None
    for path, digest in content["files"].items():
        if not _inside(path) or not DIGEST.fullmatch(digest):
            raise ReleaseError(f"{bento / MANIFEST} names {path!r}, which is no file of a Bento with its sha256; do not use this Bento")
    return dict(content)


def _inside(path: str) -> bool:
    """Return whether a path is written plainly and stays in the folder, off the files that describe the Bento itself."""
    parts = PurePosixPath(path).parts
    plain = bool(parts) and "/".join(parts) == path and "\\" not in path and "\0" not in path and path.isprintable()
    return plain and not {"..", BYTE_CODE} & set(parts) and path not in (MANIFEST, SIGNATURE)


def _files(bento: Path) -> Iterator[str]:
    """Yield the path of every file but the manifest, its signature and byte code; refuse links, pipes and the like."""
    waiting = [bento]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                path = Path(entry.path).relative_to(bento).as_posix()
                if entry.is_dir(follow_symlinks=False):
                    waiting += [Path(entry.path)] if entry.name != BYTE_CODE else []
                elif not entry.is_file(follow_symlinks=False):
                    raise ReleaseError(f"{bento} holds {path!r}, which is a link or no plain file; a Bento has none: do not use it")
                elif path not in (MANIFEST, SIGNATURE):
                    yield path


def _plain(bento: Path, name: str) -> bytes:
    """Return the bytes of a small file that is no link."""
    try:
        with _opened(bento / name) as file:
            raw = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise ReleaseError(f"{bento / name} is missing; build the Bento again (`dvc repro package`)") from None
    if len(raw) > MOST_BYTES:
        raise ReleaseError(f"{bento / name} has more than {MOST_BYTES:,} bytes; do not use this Bento")
    return raw


def _sha256(bento: Path, path: str, copy: BinaryIO | None = None) -> str:
    """Return the sha256 of a file, writing what was read to `copy` where there is one."""
    digest = sha256()
    with _opened(bento / path) as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            if copy:
                copy.write(chunk)
    return digest.hexdigest()


def _opened(path: Path) -> BinaryIO:
    """Open a file; a link in its place is an error, not followed."""
    try:
        return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")
    except FileNotFoundError:
        raise
    except OSError as fault:
        raise ReleaseError(f"{path} cannot be read ({fault.strerror}); a Bento has plain files alone") from None


def _refuse(bento: Path, **faults: list[str]) -> None:
    """Raise when there is any fault: the first few files of each kind, by name."""
    told = [
        f"{kind}: {', '.join(paths[:5])}{f' and {len(paths) - 5} more' if len(paths) > 5 else ''}"
        for kind, paths in faults.items()
        if paths
    ]
    if told:
        raise ReleaseError(
            f"{bento} is not the Bento that its manifest describes ({'; '.join(told)}); build it again (`dvc repro package`)"
        )


def _to_disk(folder: Path, *, deep: bool = True) -> None:
    """Flush a folder, and with `deep` all that lies in it, so that a power cut leaves what was written."""
    for path in [*(folder.rglob("*") if deep else ()), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
