"""The service put together: models, request log, keys, limits and pages become one ASGI application.

The same for both ways to run it: in a Bento (service.py) and behind the supervisor (front.py). Knows no server and no process.
"""

import gc

from starlette.types import ASGIApp, Receive, Scope, Send

from evergreen.access import FILE, KeyRing
from evergreen.home import home, spool, traffic_url
from evergreen.monitoring.log.recorder import Recorder
from evergreen.monitoring.loop.bell import Bell
from evergreen.sections.loop import Serve
from serving.api.app import build_app
from serving.api.desk import Desk
from serving.api.health import Health
from serving.api.metrics import Metrics
from serving.api.pressure import Admission
from serving.api.rate import Rate
from serving.model.backend import Models
from serving.pages.about import pages
from serving.settings import Limits

SECONDS_TO_RECORD = 10.0  # that the request log may take at the end to empty its journal; what is left is replayed at the next start


class Service:
    """The application, to be started and closed. The limits of a request are the live version's: `adopt` them at each switch."""

    def __init__(self, models: Models, serve: Serve, limits: Limits) -> None:
        self.metrics = Metrics()
        self.recorder = Recorder(
            traffic_url(serve.log.url),
            spool(),
            keep_days=serve.log.keep_days,
            keep_megabytes=serve.log.keep_megabytes,
            spool_megabytes=serve.log.spool_megabytes,
        )
        self.bell = Bell(traffic_url(serve.log.url))
        self.metrics.watch(self.recorder, models)
        self.desk = Desk(models, self.recorder, self.metrics, cache=serve.cache)
        self.keys = KeyRing(home() / FILE)
        self.health = Health(models, self.recorder, self.keys.fault)
        self._pages = pages(models)
        self._rate = Rate(serve.texts_per_second, serve.burst)
        self._admission = Admission(serve.queue, self.metrics)
        self.adopt(limits)

    def adopt(self, limits: Limits) -> None:
        """Take requests under these limits from now on; counters, buckets and queues stay what they are."""
        self._app: ASGIApp = build_app(
            self.desk, self.bell, self._pages, self.keys, limits, rate=self._rate, admission=self._admission, health=self.health
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request under the limits of its moment."""
        await self._app(scope, receive, send)

    def start(self) -> None:
        """Open the request log. What an earlier process left on the journal goes to the database first.

        What is loaded by now stays, and need not be searched for garbage again: that took 0.1 to 0.3 s, in which no request is answered.
        """
        self.recorder.start()
        gc.collect()
        gc.freeze()

    async def close(self) -> None:
        """Let the shadow finish and the request log write what it holds."""
        await self.desk.close()
        self.recorder.close(SECONDS_TO_RECORD)
        self.bell.close()
