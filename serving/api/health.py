"""Is the service alive, and can it answer? /livez and /readyz, for anyone, before anything that could keep them waiting."""

import logging
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from serving.api.ports import Recorder
from serving.api.refusals import encode, reply
from serving.model.backend import Models, NotReady

log = logging.getLogger("evergreen.serving")

LIVE, READY = "/livez", "/readyz"


class Health:
    """ASGI layer that answers for health. Set `draining` before an end: new requests then go elsewhere, old ones are answered.

    `fault` tells why nobody can be let in (damaged API keys), or None.
    """

    def __init__(self, models: Models, recorder: Recorder, fault: Callable[[], str | None] = lambda: None) -> None:
        self.models, self.recorder, self.fault = models, recorder, fault
        self.draining = False
        self._fault: str | None = None

    def before(self, app: ASGIApp) -> ASGIApp:
        """Return the app with health answered before it."""

        async def layered(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] not in (LIVE, READY) or scope["method"] not in ("GET", "HEAD"):
                return await app(scope, receive, send)
            status, content = (200, {"status": "alive"}) if scope["path"] == LIVE else self.readiness()
            await reply(send, status, encode(content))

        return layered

    def readiness(self) -> tuple[int, dict[str, Any]]:
        """Return 200 when a champion can answer, else 503; and what is wrong beside that."""
        try:
            champion = self.models.champion
            version = champion.about.version
        except NotReady:
            return 503, {"status": "starting"}
        if self.draining:
            return 503, {"status": "draining", "model_version": version}
        if self._closed():
            return 503, {"status": "closed", "model_version": version, "degraded": ["the API keys cannot be read"]}
        if getattr(champion, "connected", 1) == 0:  # a model in other processes, all of which are gone for now
            return 503, {"status": "waiting", "model_version": version, "degraded": ["the model's processes are being started again"]}
        return 200, {"status": "ready", "model_version": version, "degraded": self._degraded()}

    def _closed(self) -> bool:
        """Return whether nobody can be let in; what is wrong is for the log, because it names a file and anybody may ask."""
        fault, before = self.fault(), self._fault
        self._fault = fault
        if fault and fault != before:
            log.error("nobody is let in: %s", fault)
        return fault is not None

    def _degraded(self) -> list[str]:
        state = self.recorder.state()
        told = []
        if state.dropped:
            told.append(f"{state.dropped} rows of the request log are lost")
        if state.buffered_bytes:
            told.append("the disk takes no rows of the request log; they are held in memory")
        if not state.database_up:
            told.append(f"the request log's database is away; {state.pending} rows wait for it")
        return told
