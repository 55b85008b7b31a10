"""A real PostgreSQL for tests: a private server on a Unix socket in a temporary folder, where its programs are installed.

Never the distribution's own cluster. PostgreSQL refuses to run as root; there it runs as the package's user, or as nobody.
"""

import ctypes
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

PR_SET_PDEATHSIG = 1
PATIENCE = 60  # seconds


def programs() -> Path | None:
    """Return the folder of initdb and postgres, the newest version's, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    places = [path.parent for path in reversed(found)]
    if on_path := shutil.which("initdb"):
        places.append(Path(on_path).resolve().parent)
    return next((place for place in places if (place / "postgres").exists()), None)


class Server:
    """A server that a test may stop, kill and start again; its data stay."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs, self.folder = programs, folder
        self.process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._as: dict[str, object] = {"cwd": folder, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}}
        if os.getuid() == 0:
            user = next(entry for name in ("postgres", "nobody") if (entry := _user(name)))
            os.chown(folder, user.pw_uid, user.pw_gid)
            self._as |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._run("initdb", "--pgdata=data", "--username=tester", "--auth=trust", "--encoding=UTF8", "--no-sync", "--no-instructions")

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run([self.programs / program, *arguments], capture_output=True, text=True, timeout=PATIENCE, **self._as)
        assert done.returncode == 0, done.stderr

    def url(self, database: str = "postgres") -> str:
        return f"postgresql+psycopg://tester@/{database}?host={self.folder}"

    def fresh(self) -> str:
        """Return the URL of a new, empty database."""
        name = f"fresh_{next(self._numbers)}"
        self._run("createdb", f"--host={self.folder}", "--username=tester", name)
        return self.url(name)

    def start(self) -> None:
        """Start and wait until it answers; after a kill its orphans may hold on for a moment, so it is tried again."""
        end = time.monotonic() + PATIENCE
        # Nothing here cuts the power, so nothing needs to reach the disk; a kill leaves the page cache alone.
        settings = ("listen_addresses=", "fsync=off")
        command = [self.programs / "postgres", "-D", "data", "-k", str(self.folder), *(word for each in settings for word in ("-c", each))]
        while time.monotonic() < end:
            with (self.folder / "log").open("ab") as log:
                self.process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=_end_with_tests, **self._as)
            while self.process.poll() is None:
                if self._answers():
                    return
                time.sleep(0.05)
        raise AssertionError(f"PostgreSQL does not start:\n{(self.folder / 'log').read_text()[-2000:]}")

    def _answers(self) -> bool:
        command = [self.programs / "pg_isready", "-q", "-h", str(self.folder)]
        return subprocess.run(command, timeout=PATIENCE, **self._as).returncode == 0

    def stop(self) -> None:
        """Stop it at once, clients or not."""
        self._end(signal.SIGQUIT)

    def kill(self) -> None:
        """Kill the server and every process of it, as a power cut would."""
        self._end(signal.SIGKILL)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Have it neither answer nor break off, as behind a network that has gone silent."""
        everybody = [*self._children(), self._pid()]
        for process in reversed(everybody):
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in everybody:
                os.kill(process, signal.SIGCONT)

    def _pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def _children(self) -> list[int]:
        return [int(child) for child in Path(f"/proc/{self._pid()}/task/{self._pid()}/children").read_text().split()]

    def _end(self, by: signal.Signals) -> None:
        children = self._children()
        os.kill(self._pid(), by)
        if by == signal.SIGKILL:
            for child in children:
                with suppress(ProcessLookupError):
                    os.kill(child, by)
        assert self.process is not None
        self.process.wait(PATIENCE)


def _user(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


_prctl: Callable[..., int] = ctypes.CDLL(None).prctl


def _end_with_tests() -> None:
    _prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A running server, one for all tests; a test that stops it starts it again."""
    place = programs()
    if place is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as folder:
        server = Server(place, Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()
