"""The supervisor's ear: commands that arrive on the control socket, one per connection (see evergreen/release/control.py)."""

import asyncio
import json
import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evergreen.errors import ReleaseError
from evergreen.release.live import Live
from serving.machine.children import Say
from serving.machine.supervisor import Supervisor

LONGEST = 64 * 1024  # bytes of a command


async def listen(supervisor: Supervisor) -> asyncio.Server:
    """Take commands until the server is closed. The socket's folder is its owner's alone."""
    path = supervisor.place.control
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.parent.stat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ReleaseError(f"{path.parent} must belong to the one who serves, and to nobody else; remove it, or chmod 700 it")
    path.unlink(missing_ok=True)

    async def attend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await _attend(supervisor, reader, writer)
        writer.close()

    return await asyncio.start_unix_server(attend, path, limit=LONGEST)


async def _attend(supervisor: Supervisor, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    def tell(**told: Any) -> None:
        writer.write(json.dumps(told, ensure_ascii=False).encode() + b"\n")

    line = await reader.readline()
    if not line:
        return  # somebody looked whether a service runs here
    try:
        done = await _obey(supervisor, json.loads(line), lambda said: tell(say=said))
    except ReleaseError as fault:
        tell(error=str(fault))
    except OSError as fault:  # a full disk, a Bento that cannot be read
        tell(error=f"{fault.strerror or type(fault).__name__}{f': {fault.filename}' if fault.filename else ''}; nothing was changed")
    except (ValueError, KeyError, TypeError) as fault:
        tell(error=f"not a command of this service ({type(fault).__name__}); client and service are of different versions")
    else:
        tell(done=done)
    await writer.drain()


async def _obey(supervisor: Supervisor, asked: dict[str, Any], say: Say) -> dict[str, Any]:
    """Carry a command out. A command that has begun is finished even when the one who asked has gone."""
    match asked["command"]:
        case "live":
            return supervisor.described()
        case "swap":
            work = supervisor.swap(_bento(supervisor, asked), say)
        case "rollback":
            work = supervisor.roll_back(say)
        case "trial":
            work = supervisor.trial(_bento(supervisor, asked) if asked["bento"] else None, str(asked["mode"]), float(asked["share"]), say)
        case unknown:
            raise KeyError(unknown)
    live: Live = await asyncio.shield(asyncio.ensure_future(work))
    return asdict(live)


def _bento(supervisor: Supervisor, asked: dict[str, Any]) -> Path:
    return supervisor.place.find(str(asked["bento"]))
