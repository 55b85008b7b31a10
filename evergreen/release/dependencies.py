"""Pinned dependencies: what the constraints file pins, its fingerprint, and the part of it that a few packages need.

Knows nothing of where the constraints lie; works on their text.
"""

import re
from collections.abc import Iterable
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distributions, requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from evergreen.errors import PipelineError

PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)\s*==\s*([^\s;#]+)")


def pinned(constraints: str) -> dict[str, str]:
    """Return the version of each pinned package, by canonical name, sorted. Lines that pin nothing are passed over."""
    found = (PIN.match(line.strip()) for line in constraints.splitlines())
    return dict(sorted((canonicalize_name(match[1]), match[2]) for match in found if match))


def fingerprint(constraints: str) -> str:
    """Return the sha256 of the pins alone: comments, blank lines and order do not change it."""
    lines = (f"{name}=={version}\n" for name, version in pinned(constraints).items())
    return sha256("".join(lines).encode()).hexdigest()


def strays(constraints: str) -> dict[str, str]:
    """Return the installed version of each package that is installed in another version than the pinned one.

    A build mark (`2.13.0+cpu`) is no other version; what is pinned and not installed is no stray.
    """
    installed: dict[str, str] = {
        canonicalize_name(package.name): package.version.partition("+")[0] for package in distributions() if package.name
    }
    return {name: installed[name] for name, version in pinned(constraints).items() if name in installed and installed[name] != version}


def pins_for(packages: Iterable[str], constraints: str) -> list[str]:
    """Return `name==version` of these packages and all that they need on this machine, sorted.

    Raises PipelineError when one of them is neither pinned nor installed: a Bento without its pins would be built anew, with
    other versions, on the machine that serves it.
    """
    known = pinned(constraints)
    unpinned = sorted(set(needed := _with_needs(packages)) - set(known))
    if unpinned:
        raise PipelineError(
            f"the constraints file pins no version of {', '.join(unpinned)}, which serving needs; pin all that is installed"
        )
    return [f"{name}=={known[name]}" for name in sorted(needed)]


def _with_needs(packages: Iterable[str]) -> set[str]:
    """Return the canonical names of packages and, transitively, of what they require here (markers and extras weighed)."""
    waiting = [Requirement(package) for package in packages]
    done: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        wanted = waiting.pop()
        key = (canonicalize_name(wanted.name), frozenset(wanted.extras))
        if key in done:
            continue
        done.add(key)
        waiting += [need for need in _requirements(wanted.name) if _applies(need, wanted.extras)]
    return {name for name, _ in done}


def _requirements(package: str) -> list[Requirement]:
    try:
        return [Requirement(line) for line in requires(package) or []]
    except PackageNotFoundError:
        raise PipelineError(
            f"the package {package}, which serving needs, is not installed here; run `make run` to set everything up"
        ) from None


def _applies(need: Requirement, extras: Iterable[str]) -> bool:
    return need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in ("", *extras))
