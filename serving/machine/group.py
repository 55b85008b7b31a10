"""The workers of one version: started from the version's own code, kept alive, ended together.

Knows nothing of what is live, nor of models: a worker says by itself when it is ready.
"""

import asyncio
import os
import sys
from pathlib import Path

from evergreen.errors import ReleaseError
from evergreen.processes import die_with_parent
from evergreen.release.live import Release
from serving.machine.children import Child, ChildError, Say, launch
from serving.machine.fleet import Stop
from serving.settings import Size

SECONDS_TO_START = 60.0
# What a worker may know of its parent's environment. It runs a version's own code: passwords are none of its business.
KNOWN = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "LD_PRELOAD", "VIRTUAL_ENV", "TMPDIR")


class Group:
    """The workers of one version."""

    def __init__(self, release: Release, bento: Path, *, sockets: Path, bytecode: Path, size: Size, say: Say) -> None:
        self.stop = Stop(release.version, bento / "src", tuple(sockets / f"{release.name}.{number}.sock" for number in range(size.workers)))
        self.release = release
        self.children = [self._child(number, path, size, environment(bytecode), say) for number, path in enumerate(self.stop.sockets, 1)]

    def _child(self, number: int, path: Path, size: Size, known: dict[str, str], say: Say) -> Child:
        arguments = ["--root", str(self.stop.root), "--socket", str(path), "--threads", str(size.threads)]
        command = [sys.executable, "-m", "serving.model.worker", *arguments]

        async def start() -> asyncio.subprocess.Process:
            return await launch(command, cwd=self.stop.root, env=known, preexec=die_with_parent)

        async def pulse() -> None:
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                await reader.readexactly(1)  # the beginning of its hello
            finally:
                writer.close()

        return Child(f"worker {number} of {self.release.version}", start, say, pulse)

    async def start(self) -> None:
        """Start every worker and wait until all are ready; raises ReleaseError, and none is left, when one does not come up."""
        results = await asyncio.gather(*(child.start(SECONDS_TO_START) for child in self.children), return_exceptions=True)
        failed = next((result for result in results if isinstance(result, BaseException)), None)
        if failed is not None:
            await self.end()
            raise ReleaseError(str(failed)) if isinstance(failed, ChildError) else failed

    async def end(self) -> None:
        """Let every worker finish and end, and take its socket away."""
        await asyncio.gather(*(child.stop() for child in self.children))
        for path in self.stop.sockets:
            path.unlink(missing_ok=True)


def environment(bytecode: Path) -> dict[str, str]:
    """Return the environment of a worker. Its byte code goes elsewhere: a release's folder holds what was signed, and no more."""
    known = {name: os.environ[name] for name in KNOWN if name in os.environ}
    return known | {"PYTHONPYCACHEPREFIX": str(bytecode), "OMP_WAIT_POLICY": "PASSIVE", "DO_NOT_TRACK": "1"}
