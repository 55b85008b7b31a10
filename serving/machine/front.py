"""The process that answers on the port: `python -m serving.machine.front`, started by the supervisor alone.

It gets two descriptors: the listening socket, and a line to the supervisor. The line's first message holds the settings (so that
no password stands in a command line); each later one is a route, answered by `switched`, or a ping. When the line ends, so does this.
"""

import argparse
import asyncio
import json
import logging
import signal
import socket
import sys
from typing import Any

import uvicorn
import uvloop

from evergreen.processes import die_with_parent
from evergreen.sections.loop import Serve
from serving.api.protocol import server_config
from serving.compose import Service
from serving.machine.fleet import Fleet, Route
from serving.model.backend import NotReady
from serving.settings import SETTINGS, Limits, Settings

SECONDS_TO_MEET = 2.0  # that a start waits for workers, so that who waited in the queue is answered; health cannot wait longer
RETRY_SECONDS = 0.5
SECONDS_TO_DRAIN = 30  # for requests in work when the service ends


def main() -> None:
    """Answer until the supervisor says that it is enough, or is gone."""
    die_with_parent()
    parser = argparse.ArgumentParser(prog="python -m serving.machine.front")
    parser.add_argument("--listening", type=int, required=True)
    parser.add_argument("--line", type=int, required=True)
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(message)s")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_answer(socket.socket(fileno=given.listening), socket.socket(fileno=given.line)))


async def _answer(listening: socket.socket, line: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=line)
    hello = json.loads(await reader.readline())
    serve = Serve.model_validate(hello["serve"])
    print("ready", flush=True)
    # What the requests may hold is for the version to say; until the first route is known, connections wait in the queue.
    route = await _first(reader, writer)
    if route is None:
        return
    fleet = Fleet()
    service = Service(fleet, serve, _limits(route))
    server = uvicorn.Server(_config(service, serve))
    # Until uvicorn has its own handler, and again when it has ended and sends itself the signal once more: there is more to do then.
    signal.signal(signal.SIGTERM, lambda number, frame: setattr(server, "should_exit", True))
    service.start()
    switching = asyncio.create_task(_begin(route, writer, fleet, service))
    listens = asyncio.create_task(_obey(reader, writer, fleet, service, server))
    await asyncio.wait({switching}, timeout=SECONDS_TO_MEET)
    await server.serve(sockets=[listening])
    listens.cancel()
    switching.cancel()
    await asyncio.gather(listens, switching, return_exceptions=True)
    await service.close()
    await fleet.close()


def _config(app: Any, serve: Serve) -> uvicorn.Config:
    tls: dict[str, Any] = {"ssl_certfile": serve.tls.certificate, "ssl_keyfile": serve.tls.key} if serve.tls else {}
    return server_config(app, connections=serve.connections, lifespan="off", timeout_graceful_shutdown=SECONDS_TO_DRAIN, **tls)


async def _first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Route | None:
    while said := await reader.readline():
        told = json.loads(said)
        if "ping" not in told:
            return Route.read(told)
        _tell(writer, pong=told["ping"])
    return None


def _limits(route: Route) -> Limits:
    return Settings.load(route.champion.root / SETTINGS).limits


async def _obey(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fleet: Fleet, service: Service, server: uvicorn.Server) -> None:
    """Do what the supervisor says. Switching waits for workers, so pings are answered beside it."""
    switches: set[asyncio.Task[bool]] = set()
    while said := await reader.readline():
        told = json.loads(said)
        if "ping" in told:
            _tell(writer, pong=told["ping"])
            continue
        switch = asyncio.create_task(_switch(Route.read(told), writer, fleet, service))
        switches.add(switch)
        switch.add_done_callback(switches.discard)
    server.should_exit = True


async def _begin(route: Route, writer: asyncio.StreamWriter, fleet: Fleet, service: Service) -> None:
    """Take up the first route, however long its workers are away: nobody else would try again."""
    while not await _switch(route, writer, fleet, service) and not fleet.generation:
        await asyncio.sleep(RETRY_SECONDS)


async def _switch(route: Route, writer: asyncio.StreamWriter, fleet: Fleet, service: Service) -> bool:
    try:
        limits = _limits(route)
        await fleet.switch(route)
    except (NotReady, OSError, ValueError) as fault:
        _tell(writer, refused=route.generation, why=str(fault))
        return False
    if fleet.generation == route.generation:  # else it has been overtaken by a newer one
        service.adopt(limits)
        _tell(writer, switched=route.generation)
    return True


def _tell(writer: asyncio.StreamWriter, **told: Any) -> None:
    writer.write(json.dumps(told).encode() + b"\n")


if __name__ == "__main__":
    main()
