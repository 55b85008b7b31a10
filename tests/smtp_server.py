"""A real SMTP server on a port of this machine that takes mail and keeps it: plain, or with STARTTLS and a login before anything else."""

import base64
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer


class MailServer(ThreadingTCPServer):
    """What it was sent: `mail` with the addresses it was for, and `logins`, each with its password."""

    daemon_threads = True

    def __init__(self, certificate: tuple[Path, Path] | None) -> None:
        self.mail: list[tuple[list[str], EmailMessage]] = []
        self.logins: list[tuple[str, str]] = []
        self.tls: ssl.SSLContext | None = None
        if certificate:
            self.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self.tls.load_cert_chain(*certificate)
        super().__init__(("127.0.0.1", 0), _Session)

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Session(StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        with suppress(OSError):  # a caller that does not like the certificate leaves
            self.converse()
        self.connection.close()  # under TLS another one than the server knows

    def converse(self) -> None:
        self.say("220 tests")
        safe, known, wanted = self.server.tls is None, self.server.tls is None, list[str]()
        while line := self.rfile.readline():
            word, _, rest = line.decode("ascii").strip().partition(" ")
            if word.upper() == "EHLO":
                self.say("250-tests", "250 AUTH PLAIN" if safe else "250 STARTTLS")
            elif word.upper() == "STARTTLS" and not safe:
                self.say("220 go on")
                self.secure()
                safe = True
            elif word.upper() == "AUTH" and safe:
                _, user, password = base64.b64decode(rest.split()[1]).decode().split("\0")
                self.server.logins.append((user, password))
                known = True
                self.say("235 welcome")
            elif word.upper() == "QUIT":
                self.say("221 bye")
                return
            elif not known:
                self.say("530 log in first")
            elif word.upper() == "RCPT":
                wanted.append(rest.partition("<")[2].partition(">")[0])
                self.say("250 ok")
            elif word.upper() == "DATA":
                self.say("354 go on")
                self.keep(wanted)
                self.say("250 kept")
            else:  # MAIL, RSET
                wanted.clear()
                self.say("250 ok")

    def keep(self, wanted: list[str]) -> None:
        lines = iter(self.rfile.readline, b".\r\n")
        content = b"".join(line.removeprefix(b".") for line in lines)
        self.server.mail.append(([*wanted], message_from_bytes(content, policy=policy.default)))

    def secure(self) -> None:
        assert self.server.tls is not None
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", buffering=0)

    def say(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())


@contextmanager
def mail_server(certificate: tuple[Path, Path] | None = None) -> Iterator[MailServer]:
    """Take mail until left; with a certificate and its key, only over TLS and from whoever logs in."""
    with MailServer(certificate) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
