"""A real SSH server with SFTP on a port of this machine, one folder behind it, one key that may enter."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh


@dataclass(frozen=True)
class SshServer:
    """Where it answers, the folder that callers see as `/`, and the private key that lets them in."""

    port: int
    folder: Path
    key: Path

    @property
    def url(self) -> str:
        return f"ssh://tester@127.0.0.1:{self.port}/store"


@contextmanager
def ssh_server(state: Path) -> Iterator[SshServer]:
    """Serve `state`/files over SFTP until left."""
    folder, key = state / "files", state / "id"
    (folder / "store").mkdir(parents=True)
    private = asyncssh.generate_private_key("ssh-ed25519")
    key.write_bytes(private.export_private_key())
    key.chmod(0o600)
    (state / "authorized").write_bytes(private.export_public_key())
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    connections: list[asyncssh.SSHServerConnection] = []

    class Door(asyncssh.SSHServer):
        def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
            connections.append(conn)

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=Door,
            server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            authorized_client_keys=str(state / "authorized"),
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(folder)),
        )

    async def end(server: asyncssh.SSHAcceptor) -> None:
        server.close()
        await server.wait_closed()
        for connection in connections:  # clients keep theirs for the next time
            connection.abort()
            await connection.wait_closed()

    server = asyncio.run_coroutine_threadsafe(listen(), loop).result(30)
    try:
        yield SshServer(server.get_port(), folder, key)
    finally:
        asyncio.run_coroutine_threadsafe(end(server), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
