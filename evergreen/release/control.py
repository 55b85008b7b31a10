"""How a command reaches the running service: one line of JSON to its control socket, lines of JSON back.

    {"command": "swap", "bento": "/path"}  ->  {"say": "verified ..."} ... {"done": {...}} or {"error": "..."}

The socket lies in a folder that only its owner may enter: who can reach it may change what is live.
"""

import json
import socket
from collections.abc import Callable
from typing import Any

from evergreen.errors import ReleaseError
from evergreen.release.live import Place

SECONDS = 180  # of silence; a new version has to be copied, verified and started


def ask(place: Place, command: dict[str, Any], *, say: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Send a command to the service that runs in this place and return its answer; `say` gets its account on the way.

    Raises ReleaseError with the service's own words when it refuses, and when no service runs here.
    """
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(SECONDS)
        try:
            line.connect(str(place.control))
        except (FileNotFoundError, ConnectionRefusedError):
            raise ReleaseError(f"no service runs in {place.home}; start it with `evergreen serve`") from None
        line.sendall(json.dumps(command).encode() + b"\n")
        try:
            with line.makefile("r", encoding="utf-8") as answers:
                for answer in answers:
                    told = json.loads(answer)
                    if "done" in told:
                        done: dict[str, Any] = told["done"]
                        return done
                    if "error" in told:
                        raise ReleaseError(told["error"])
                    say(told["say"])
        except TimeoutError:
            raise ReleaseError(f"the service has said nothing for {SECONDS} s; see what it prints, then `evergreen live`") from None
    raise ReleaseError("the service ended before it had answered; see what it printed, then `evergreen live`")


def running(place: Place) -> bool:
    """Say whether a service answers on the control socket."""
    with socket.socket(socket.AF_UNIX) as line:
        try:
            line.connect(str(place.control))
        except OSError:
            return False
        return True
