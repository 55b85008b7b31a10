"""Processes without a network: a namespace of the kernel that has none, and a guard that notes every attempt to reach one."""

import shutil
import subprocess
from pathlib import Path

GUARD = """
import os, sys

def _guard(event, arguments):
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto"):
        host = arguments[1][0] if isinstance(arguments[1], tuple) else None  # a path: a socket of this machine
    else:
        return
    if isinstance(host, bytes):
        host = host.decode()
    if host in (None, "", "localhost", "::1", "0.0.0.0") or host.startswith("127."):
        return
    _note(f"refused {event} {host} {' '.join(sys.orig_argv)}")
    raise OSError(f"this test allows no network, and {host} is not this machine")

def _note(line):
    with open(os.environ["NETWORK_LOG"], "a") as log:
        log.write(line.replace(chr(10), " ") + chr(10))

_note(f"guarded {' '.join(sys.orig_argv)}")
sys.addaudithook(_guard)
"""


def _namespace() -> tuple[str, ...]:
    """Return the words before a command that take the network from it, or nothing where the system does not allow that."""
    words = ("unshare", "--map-root-user", "--net")
    if shutil.which(words[0]) is None:
        return ()
    return words if subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0 else ()


NO_NETWORK = _namespace()
# After NO_NETWORK, before a command whose processes talk to one another: a namespace begins with its loopback device down.
LOOPBACK_UP = ("sh", "-c", 'ip link set lo up && exec "$@"', "sh")


def guarded(project: Path) -> dict[str, str]:
    """Return variables under which every Python process refuses and notes connections that leave this machine."""
    folder = project.with_name(f"{project.name}-guard")
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(GUARD, encoding="utf-8")
    return {"PYTHONPATH": str(folder), "NETWORK_LOG": str(log(project))}


def log(project: Path) -> Path:
    """Return the file in which guarded processes of a project note what they do."""
    return project.with_name(f"{project.name}-network.log")


def attempts(project: Path) -> list[str]:
    """Return the connections that guarded processes tried."""
    return [line for line in log(project).read_text(encoding="utf-8").splitlines() if line.startswith("refused")]


def watched(project: Path) -> str:
    """Return the command lines of all processes that were guarded."""
    lines = log(project).read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if line.startswith("guarded"))
