"""Who asks, and may they? The door between the network and everything but health.

Knows API keys through evergreen.access alone; keeps no secret and logs none.
"""

import base64
import binascii
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

from evergreen.access import PERMISSIONS, KeyRing, Permission
from evergreen.errors import AccessError
from serving.api.refusals import Headers, Refusal

CHALLENGES: Headers = (
    (b"www-authenticate", b'Bearer realm="evergreen"'),
    (b"www-authenticate", b'Basic realm="evergreen", charset="UTF-8"'),
)
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
PROXIED = (b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip", b"via")
MANY = 512  # characters; no header of ours is as long


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the id of an API key, "" where keys are off."""

    key_id: str
    may: frozenset[Permission]


EVERYTHING: frozenset[Permission] = frozenset(PERMISSIONS)


class Callers:
    """ASGI layer: finds out who asks, and refuses whoever lacks the permission that the route needs."""

    def __init__(self, app: ASGIApp, keys: KeyRing, needs: dict[str, Permission]) -> None:
        self.app, self.keys, self.needs = app, keys, needs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its caller at scope["caller"], or refuse it."""
        caller = self.caller(scope)
        needed = self.needs[scope["path"]]
        if needed not in caller.may:
            raise Refusal(403, f"this API key may not {needed}", reason="permission")
        scope["caller"] = caller
        await self.app(scope, receive, send)

    def caller(self, scope: Scope) -> Caller:
        """Return who asks, or refuse them."""
        try:
            on = self.keys.on()
            given = presented(scope)
            key = self.keys.check(given) if on and given is not None else None
        except AccessError:
            raise Refusal(503, "the API keys cannot be read; whoever runs this service must repair them", reason="keys") from None
        if key is not None:
            return Caller(key.id, frozenset(key.may))
        if on:
            message = (
                "this API key is not known here, or was revoked" if given is not None else "send an API key: Authorization: Bearer eg_..."
            )
            raise Refusal(401, message, reason="key", headers=CHALLENGES)
        if not is_local(scope):
            raise Refusal(403, "this service has no API keys yet, so it answers its own machine alone", reason="remote")
        return Caller("", EVERYTHING)


def presented(scope: Scope) -> str | None:
    """Return the API key that a request presents: as a bearer token, or as the password of basic authentication."""
    headers = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(headers) != 1 or len(headers[0]) > MANY:
        return "" if headers else None
    kind, _, rest = str(headers[0], "latin-1").partition(" ")
    if kind.lower() == "bearer":
        return rest.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(rest.strip(), validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return ""


def is_local(scope: Scope) -> bool:
    """Return whether a request comes from this machine itself, not through a proxy and not through a foreign name."""
    headers = scope["headers"]
    if any(name in PROXIED for name, _ in headers):
        return False
    # nginx as it comes says nothing of whom it asks for, and names the upstream as Host; but it speaks HTTP/1.0 to it.
    if scope.get("http_version") == "1.0":
        return False
    hosts = [value.decode("latin-1").lower() for name, value in headers if name == b"host"]
    # A page of another site can point its own name at 127.0.0.1, but it cannot change the Host that a browser sends.
    if any(_without_port(host) not in LOCAL_NAMES for host in hosts):
        return False
    return _loopback(scope.get("client")) and _loopback(scope.get("server"))


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _loopback(address: tuple[str, int | None] | None) -> bool:
    """Return whether an address is of this machine; a Unix socket has none, or one without a port."""
    return address is None or address[1] is None or not address[0] or is_loopback(address[0])


@lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """Return whether an address is of this machine itself."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
