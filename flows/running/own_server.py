"""Prefect's server for a flow run that a person starts: the one that is there, else one that lives as long as the command.

    ready = begin(root)            before Prefect is imported
    from flows.train import train
    ready()                        it answers
    train(root)

Prefect would start one by itself, but only once it is imported, and it imports the whole server into the caller for that. This one comes
up meanwhile. It ends after Prefect has sent its last words to it, and with this process, whatever that dies of.
"""

import atexit
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from evergreen.errors import PipelineError
from flows.running import connection
from flows.running.components import LOGS, Component, last_words

SECONDS_TO_COME_UP = 180
APPLICATION = "prefect.server.api.server:create_app"
# As Prefect starts its own: no pages, and none of the services that look after schedules.
SETTINGS = {"PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1", "PREFECT_SERVER_UI_ENABLED": "false"}


def begin(root: Path) -> Callable[[], None]:
    """Have Prefect use the server that is there, or start one; return what waits until it answers.

    That raises PipelineError with the end of the server's log where it does not come up; this does where the one that is there is silent.
    """
    while True:
        if found := connection.api() or _of_up():
            return _use(found)
        if turn := connection.turn():
            break
        time.sleep(0.05)
    port = connection.free_port(0)
    command = [sys.executable, "-m", "uvicorn", "--factory", APPLICATION, "--host", connection.LOOPBACK, "--port", str(port)]
    server = Component(
        "server", [*command, "--log-level", "error", "--lifespan", "on"], os.environ | SETTINGS, LOGS / f"server-of-{os.getpid()}.log", root
    )
    os.environ["PREFECT_API_URL"] = f"http://{connection.LOOPBACK}:{port}/api"
    atexit.register(_end, server)  # before Prefect registers anything: the last to be called
    server.start()

    def ready() -> None:
        with turn:
            _wait(server, os.environ["PREFECT_API_URL"])

    return ready


def _use(found: str) -> Callable[[], None]:
    if not connection.reachable(found):
        how = "PREFECT_API_URL names it: start it, or unset that" if os.environ.get("PREFECT_API_URL") else "see `evergreen status`"
        raise PipelineError(f"no Prefect server answers on {found}; {how}")
    os.environ["PREFECT_API_URL"] = found
    return lambda: None


def _of_up() -> str | None:
    """Return the address of an `evergreen up` that is still coming up: a second server beside it would use the same database file."""
    deadline, told = time.monotonic() + SECONDS_TO_COME_UP, False
    while connection.held():
        if found := connection.running():
            return found.api
        if time.monotonic() > deadline:
            raise PipelineError(f"`evergreen up` has not come up within {SECONDS_TO_COME_UP} s; see what it says, or end it")
        if not told:
            told = True
            print("`evergreen up` is coming up; waiting for its server …", file=sys.stderr)
        time.sleep(0.1)
    return None


def _wait(server: Component, api: str) -> None:
    deadline = time.monotonic() + SECONDS_TO_COME_UP
    while not connection.healthy(api):
        if not server.alive or time.monotonic() > deadline:
            raise PipelineError(f"Prefect's server did not come up; the end of its log {server.log}:\n{last_words(server.log)}")
        time.sleep(0.05)


def _end(server: Component) -> None:
    """End the server; a log that says nothing goes with it."""
    server.stop()
    if server.log.exists() and not server.log.stat().st_size:
        server.log.unlink()
