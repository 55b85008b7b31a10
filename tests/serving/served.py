"""A real server around the tiny model, for tests of what only a real server can show: `python -m tests.serving.served FOLDER`.

Engine, metrics, request log and protocol are the service's own. Prints its port, and answers until its standard input is closed.
"""

import asyncio
import logging
import socket
import sys
import threading
from pathlib import Path

import uvicorn
from starlette.types import Receive, Scope, Send

from evergreen.access import KeyRing
from evergreen.monitoring.log.recorder import Recorder
from evergreen.monitoring.loop.bell import Bell
from serving.api.app import build_app
from serving.api.desk import Desk
from serving.api.health import Health
from serving.api.metrics import Metrics
from serving.api.pressure import Admission
from serving.api.protocol import server_config
from serving.api.rate import Rate
from serving.api.refusals import reply
from serving.model.engine import Engine
from serving.settings import Limits
from tests.release_factories import SETTINGS, bento_folder
from tests.serving_factories import FakeModels

LIMITS = Limits(max_texts=8, max_characters=10_000, timeout=10)
CONNECTIONS, QUEUE = 50, 64
HEADER_SECONDS = BODY_SECONDS = STALL_SECONDS = 2.0  # a busy machine may keep an honest test waiting, too
LARGE = 16 * 2**20  # bytes of the page at /large: more than two sockets hold
LOG = "traffic.sqlite"


def main(folder: Path) -> None:
    logging.basicConfig(level=logging.INFO)  # what a careless operator would see
    cleaning = {**SETTINGS["cleaning"], "mask": ["email", "phone", "card", "iban", "account"]}
    bento = bento_folder(folder / "bento", limits=LIMITS.model_dump(), cleaning=cleaning)
    engine, metrics, ring = Engine(bento / "src", threads=1), Metrics(), KeyRing(folder / "keys.json")
    recorder = Recorder(f"sqlite:///{folder / LOG}", folder / "spool", keep_days=1, keep_megabytes=100, spool_megabytes=100)
    models = FakeModels(engine)
    desk, health = Desk(models, recorder, metrics), Health(models, recorder, ring.fault)
    rate, admission = Rate(1e6, 10**6), Admission(QUEUE, metrics)
    bell = Bell(f"sqlite:///{folder / LOG}")
    app = build_app(desk, bell, {"/large": _large}, ring, LIMITS, rate=rate, admission=admission, health=health, body_seconds=BODY_SECONDS)
    server = uvicorn.Server(server_config(app, connections=CONNECTIONS, header_seconds=HEADER_SECONDS, stall_seconds=STALL_SECONDS))
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listening:
        threading.Thread(target=_end_with_input, args=(server,), daemon=True).start()
        recorder.start()
        print(listening.getsockname()[1], flush=True)
        server.run(sockets=[listening])
    asyncio.run(desk.close())
    recorder.close()
    bell.close()
    engine.close()


async def _large(scope: Scope, receive: Receive, send: Send) -> None:
    await reply(send, 200, bytes(LARGE))


def _end_with_input(server: uvicorn.Server) -> None:
    sys.stdin.read()
    server.should_exit = True


if __name__ == "__main__":
    main(Path(sys.argv[1]))
